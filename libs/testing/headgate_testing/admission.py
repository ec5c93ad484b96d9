"""Admission among fakes: an auth that can be counted, held and switched off, and buckets in a dict."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import cast

from headgate.auth.v1 import auth_pb2
from headgate.inference.v1 import inference_pb2
from headgate.metering.v1 import metering_pb2
from headgate.metering.v1.metering_pb2 import RateLimit, RatePolicy
from headgate_admission.admission import Admission
from headgate_admission.callers import CallerLimits
from headgate_clients.auth import AuthClient
from headgate_clients.metering import MeteringClient
from headgate_credentials import generate
from headgate_rpc.call import CallContext, Peer, methods_of
from headgate_rpc.channel import Options, Reply
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import WatchSource
from headgate_telemetry.record import CallRecord, TraceContext
from headgate_testing.clock import FakeClock

METHODS = {
    **methods_of(auth_pb2.DESCRIPTOR.services_by_name["AuthService"]),
    **methods_of(inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]),
    **methods_of(metering_pb2.DESCRIPTOR.services_by_name["MeteringService"]),
}

POLICIES = [
    RatePolicy(
        name="standard",
        per_address=True,
        limits=[
            RateLimit(rate_class="default", requests_per_minute=60),
            RateLimit(rate_class="chat", requests_per_minute=20),
            RateLimit(rate_class="embeddings", requests_per_minute=100),
        ],
    ),
    RatePolicy(
        name="free",
        limits=[RateLimit(rate_class="default", requests_per_minute=10, tokens_per_minute=10_000)],
    ),
    RatePolicy(name="enterprise"),
]


@dataclass(frozen=True)
class FakeVerdict:
    """headgate_admission.leases.Verdict."""

    granted: bool
    limit: int
    remaining: int
    reset_at_ms: int
    retry_after_ms: int = 0


class FakeLeases:
    """Buckets that never refill; the first touch of each has to ask."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.limits: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.retry_after_ms = 1_500
        for policy in POLICIES:
            for limit in policy.limits:
                self.limits[f"requests/{policy.name}/{limit.rate_class}"] = limit.requests_per_minute
                self.limits[f"tokens/{policy.name}/{limit.rate_class}"] = limit.tokens_per_minute

    def limit(self, bucket_id: str) -> int:
        """Size of the bucket."""
        return self.limits[bucket_id.rpartition("/")[0]]

    def spent(self) -> dict[str, int]:
        """Units spent of every bucket that was touched."""
        return {bucket: self.limit(bucket) - left for bucket, left in self.left.items()}

    def spend(self, bucket_id: str, units: int) -> FakeVerdict | None:
        """Leases.spend."""
        return self._take(bucket_id, units) if bucket_id in self.left else None

    async def acquire(self, bucket_id: str, units: int) -> FakeVerdict:
        """Leases.acquire."""
        self.left.setdefault(bucket_id, self.limit(bucket_id))
        return self._take(bucket_id, units)

    def correct(self, bucket_id: str, units: int) -> None:
        """Leases.correct."""
        self.left[bucket_id] -= units

    def _take(self, bucket_id: str, units: int) -> FakeVerdict:
        granted = self.left[bucket_id] >= units
        if granted:
            self.left[bucket_id] -= units
        reset_at_ms = self.clock.wall_ms() + 7_250
        retry_after_ms = 0 if granted else self.retry_after_ms
        return FakeVerdict(granted, self.limit(bucket_id), self.left[bucket_id], reset_at_ms, retry_after_ms)


class FakeAuth:
    """Knows principals by credential; `gate` holds answers back, `away` refuses to give any."""

    def __init__(self) -> None:
        self.principals: dict[str, auth_pb2.Principal] = {}
        self.source: WatchSource[auth_pb2.Principal] = WatchSource()
        self.asked: Counter[str] = Counter()
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.away: HeadgateError | None = None

    async def authenticate(
        self, request: auth_pb2.AuthenticateRequest, options: Options
    ) -> Reply[auth_pb2.AuthenticateResponse]:
        """AuthClient.authenticate."""
        self.asked[request.credential] += 1
        position = self.source.position
        principal = self.principals.get(request.credential)
        self.reached.set()
        await self.gate.wait()
        if self.away:
            raise self.away
        if principal is None:
            raise HeadgateError(Reason.INVALID_CREDENTIALS, "The API key is not valid.")
        return Reply(auth_pb2.AuthenticateResponse(principal=principal, position=position), {})

    async def watch_credentials(
        self, request: auth_pb2.WatchCredentialsRequest
    ) -> AsyncIterator[auth_pb2.WatchCredentialsResponse]:
        """AuthClient.watch_credentials."""
        return self.source.follow(request.position, auth_pb2.WatchCredentialsResponse)

    def revoke(self, credential: str) -> None:
        """Ends the key and announces it."""
        principal = self.principals.pop(credential)
        self.source.publish({}, [f"principal/{principal.id}"])


class FakeMetering:
    """Pushes what its source holds."""

    def __init__(self) -> None:
        self.source: WatchSource[RatePolicy] = WatchSource()

    async def watch_policies(
        self, request: metering_pb2.WatchPoliciesRequest
    ) -> AsyncIterator[metering_pb2.WatchPoliciesResponse]:
        """MeteringClient.watch_policies."""
        return self.source.follow(request.position, metering_pb2.WatchPoliciesResponse)


class AdmissionRig:
    """Admission, not yet following; `start` makes it follow."""

    def __init__(self, limits: CallerLimits | None = None) -> None:
        self.clock = FakeClock()
        self.auth = FakeAuth()
        self.metering = FakeMetering()
        self.leases = FakeLeases(self.clock)
        self.admission = Admission(self.clock, POLICIES, limits)
        self.admission.connect(cast(AuthClient, self.auth), cast(MeteringClient, self.metering), self.leases)

    async def start(self) -> None:
        """Follow auth and metering, and be up to date."""
        await self.admission.start()
        await self.caught_up()

    async def caught_up(self) -> None:
        """Until admission has seen all that auth has announced."""
        async with asyncio.timeout(5):
            while self.admission._credentials_watch.position != self.auth.source.position:  # noqa: ASYNC110
                await asyncio.sleep(0)

    def add(
        self,
        *scopes: str,
        policy: str = "enterprise",
        name: str = "",
        ranges: tuple[str, ...] = (),
        account_ranges: tuple[str, ...] = (),
        expires_at_ms: int = 0,
    ) -> str:
        """A credential that auth knows."""
        made = generate()
        self.auth.principals[made.text.reveal()] = auth_pb2.Principal(
            id=f"key_{name or made.id}",
            account_id="acct_a",
            key_prefix=made.prefix,
            scopes=scopes,
            policy=policy,
            ip_allow_list=ranges,
            account_ip_allow_list=account_ranges,
            expires_at_ms=expires_at_ms,
        )
        return made.text.reveal()

    def call(
        self,
        method: str,
        metadata: Mapping[str, str] | str = "",
        address: str = "192.0.2.1",
        inside: bool = False,
    ) -> CallContext:
        """A call that has just arrived; metadata given as text is a bearer credential."""
        if isinstance(metadata, str):
            metadata = {"authorization": f"Bearer {metadata}"} if metadata else {}
        record = CallRecord(
            "s", method, "e", "req_1", TraceContext("0" * 32, "0" * 16), 0, client_address=address
        )
        return CallContext(METHODS[method], metadata, Peer(address, inside), None, record)

    async def refusal(self, call: CallContext) -> HeadgateError:
        """The error of a call that is refused, with the metadata that the host would send."""
        try:
            await self.admission.admit(call)
        except HeadgateError as error:
            error.metadata = {**call.initial_metadata, **error.metadata}
            return error
        raise AssertionError(f"{call.method.name} was admitted")

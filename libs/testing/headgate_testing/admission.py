"""Admission among fakes: an auth that can be counted, held and switched off, and buckets in a dict."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
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
from headgate_leases.bucket import TokenBucket
from headgate_leases.refusal import BucketState, Refusal
from headgate_rpc.call import CallContext, Peer, methods_of
from headgate_rpc.channel import Options, Reply
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import WatchSource
from headgate_telemetry.record import CallRecord, TraceContext
from headgate_telemetry.trace import new_trace
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


class FakeLeases:
    """Buckets in a dict that never refill; the first touch of each has to ask. See headgate_admission.leases."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.spent: dict[str, int] = {}
        self.limits: dict[str, int] = {}
        self.retry_after_ms = 1_500
        self.away = False

    def take(self, bucket_id: str, units: int = 1) -> BucketState | None:
        """Leases.take."""
        if bucket_id not in self.spent or self.spent[bucket_id] + units > self.limits[bucket_id]:
            return None
        self.spent[bucket_id] += units
        return self._state(bucket_id)

    async def acquire(self, bucket_id: str, units: int, figures: TokenBucket) -> Refusal | None:
        """Leases.acquire."""
        self.limits[bucket_id] = figures.capacity
        self.spent.setdefault(bucket_id, 0)
        never_fits = units > figures.capacity
        if not self.away and not never_fits and self.take(bucket_id, units):
            return None
        return Refusal(
            bucket_id,
            units,
            self._state(bucket_id),
            self.retry_after_ms,
            known=not self.away,
            never_fits=never_fits,
        )

    def adjust(self, bucket_id: str, units: int) -> None:
        """Leases.adjust."""
        self.spent[bucket_id] += units

    def state(self, bucket_id: str) -> BucketState | None:
        """Leases.state."""
        return self._state(bucket_id) if bucket_id in self.spent else None

    def _state(self, bucket_id: str) -> BucketState:
        limit = self.limits[bucket_id]
        return BucketState(limit, limit - self.spent[bucket_id], self.clock.wall_ms() + 7_250)


class FakeAuth:
    """Knows principals by credential; `gate` holds answers back, `away` refuses to give any."""

    def __init__(self) -> None:
        self.principals: dict[str, auth_pb2.Principal] = {}
        self.source: WatchSource[auth_pb2.Principal] = WatchSource()
        self.asked: Counter[str] = Counter()
        self.options: list[Options] = []
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.away: HeadgateError | None = None

    async def authenticate(
        self, request: auth_pb2.AuthenticateRequest, options: Options
    ) -> Reply[auth_pb2.AuthenticateResponse]:
        """AuthClient.authenticate."""
        self.asked[request.credential] += 1
        self.options.append(options)
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
        trace: TraceContext | None = None,
    ) -> CallContext:
        """A call that has just arrived; metadata given as text is a bearer credential."""
        if isinstance(metadata, str):
            metadata = {"authorization": f"Bearer {metadata}"} if metadata else {}
        record = CallRecord("s", method, "e", "req_1", trace or new_trace(), 0, client_address=address)
        return CallContext(METHODS[method], metadata, Peer(address, inside), None, record)

    async def refusal(self, call: CallContext) -> HeadgateError:
        """The error of a call that is refused, with the metadata that the host would send."""
        try:
            await self.admission.admit(call)
        except HeadgateError as error:
            error.metadata = {**call.initial_metadata, **error.metadata}
            return error
        raise AssertionError(f"{call.method.name} was admitted")

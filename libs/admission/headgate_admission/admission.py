"""The gate of every service: credential → principal → address list → request limit → scope (RATE-21)."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from headgate.auth.v1 import auth_pb2
from headgate.metering.v1 import metering_pb2
from headgate.watch.v1.watch_pb2 import Position
from headgate_admission import errors
from headgate_admission.addresses import may_come_from
from headgate_admission.callers import CallerLimits, Callers
from headgate_admission.leases import Leases
from headgate_admission.limits import RequestLimits
from headgate_admission.open_calls import OpenCalls
from headgate_admission.policies import Policies
from headgate_admission.principal import Principal
from headgate_admission.scopes import allows
from headgate_admission.tokens import TokenLimits, TokenReservation
from headgate_clients.auth import AuthClient
from headgate_clients.metering import MeteringClient
from headgate_clock import Clock
from headgate_credentials import from_metadata
from headgate_rpc.call import INTERNAL_SCOPE, CallContext
from headgate_rpc.channel import Options, StreamReply
from headgate_rpc.errors import HeadgateError
from headgate_rpc.snapshot import SnapshotFile
from headgate_rpc.thread_channel import ThreadChannel
from headgate_rpc.watch_thread import WatchThread
from headgate_rpc.watcher import Update, Watcher
from headgate_telemetry.record import TraceContext
from headgate_telemetry.trace import format_traceparent

# A valid credential is enough, and the handler charges the request: only it knows the class.
ANY = "any"

# How long known callers are let in while auth is silent (reliability: fail static, then closed).
MAX_SILENCE_S = 300.0


class Admission:
    """Decides whether a call may run; one for each process, mounted by the host.

    Connect it before the first call; start it to follow auth and metering.
    """

    def __init__(
        self,
        clock: Clock,
        built_in_policies: Iterable[metering_pb2.RatePolicy],
        caller_limits: CallerLimits | None = None,
        max_silence_s: float = MAX_SILENCE_S,
    ) -> None:
        self._clock = clock
        self._policies = Policies(built_in_policies)
        self._caller_limits = caller_limits or CallerLimits()
        self._max_silence_s = max_silence_s
        self._open_calls = OpenCalls(self._is_good)
        self._followers: list[asyncio.Task[None]] = []
        self._thread: WatchThread[auth_pb2.Principal] | None = None
        self._news: deque[Update[auth_pb2.Principal]] = deque()

    def connect(
        self,
        auth: AuthClient,
        metering: MeteringClient,
        leases: Leases,
        *,
        credentials: ThreadChannel | None = None,
        snapshots: Path | None = None,
    ) -> None:
        """Says where principals, policies and units come from.

        Over `credentials`, a channel to an auth of another process, a thread of its own follows what is revoked.
        In the folder `snapshots` the policies are kept for a start while metering is away.

        Not in the constructor, because within one process these clients lead to the host that this gate guards.
        """
        wait_s = self._caller_limits.wait_s

        async def ask(credential: str, trace: TraceContext | None) -> auth_pb2.AuthenticateResponse:
            request = auth_pb2.AuthenticateRequest(credential=credential)
            metadata = {} if trace is None else {"traceparent": format_traceparent(trace)}
            return (await auth.authenticate(request, Options(metadata, timeout=wait_s))).message

        self._callers = Callers(ask, self._clock, self._caller_limits)
        self._requests = RequestLimits(self._policies, leases, self._clock)
        self._tokens = TokenLimits(self._policies, leases, self._clock)
        self._policies_watch = _policies_watch(metering, self._on_policies, self._clock, snapshots)
        if credentials is None:
            self._credentials_watch = _credentials_watch(auth, self._on_credentials, self._clock)
        else:
            self._thread = WatchThread[auth_pb2.Principal](credentials, self._catch_up)
            self._news = self._thread.news
            self._credentials_watch = _credentials_watch(
                AuthClient(credentials), self._thread.learned, self._clock
            )

    @property
    def waits(self) -> int:
        """Calls that waited for auth, since the start."""
        return self._callers.waits

    @property
    def watches(self) -> tuple[Watcher[Any], ...]:
        """What is followed, for its metrics."""
        return self._credentials_watch, self._policies_watch

    async def start(self) -> None:
        """Follows auth and metering until stopped; neither needs to be there yet."""
        self._followers.append(asyncio.create_task(self._policies_watch.run()))
        if self._thread is None:
            self._followers.append(asyncio.create_task(self._credentials_watch.run()))
        else:
            await self._thread.start(self._credentials_watch)

    async def policies_arrived(self, wait_s: float) -> None:
        """Returns when metering's policies are there. After `wait_s` seconds without them the built-in ones have to
        do: they are stricter than most, and a call that its own policy allows must not be refused at a start."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._policies_watch.ready.wait()

    async def stop(self) -> None:
        """Stops following."""
        if self._thread is not None:
            await self._thread.stop()
        for task in self._followers:
            task.cancel()
        for task in self._followers:
            with suppress(asyncio.CancelledError):
                await task
        self._followers.clear()

    async def admit(self, call: CallContext) -> None:
        """Sets `call.principal` and the limit metadata. Raises HeadgateError; what a refused call is charged
        with, if anything, stands in its metadata too."""
        required = call.method.required_scope
        if required == INTERNAL_SCOPE:
            if not call.peer.inside:
                raise errors.outsider()
            return
        try:
            principal = self._known(call) or await self._find(call)
        except HeadgateError as refusal:
            if refusal.condition.http in {401, 403}:
                await self._requests.charge_stranger(call)
            raise
        call.principal = principal
        if required == ANY:
            return
        waiting = self._requests.charge(call, principal.policy, principal.id, call.method.rate_class)
        if waiting is not None:
            await waiting
        if not allows(principal.scopes, required):
            raise errors.lacks_scope(required)

    async def charge(self, call: CallContext, rate_class: str) -> None:
        """Charges one request of this class to an admitted call whose RPC asks for `any` scope; an empty class
        is `default`. Raises RATE_LIMIT_EXCEEDED."""
        principal = _principal_of(call)
        waiting = self._requests.charge(call, principal.policy, principal.id, rate_class)
        if waiting is not None:
            await waiting

    def tokens(self, call: CallContext, units: int) -> Coroutine[Any, Any, TokenReservation]:
        """Reserves tokens for an admitted call and writes the token metadata. Raises RATE_LIMIT_EXCEEDED."""
        return self._tokens.reserve(call, _principal_of(call), units)

    def on_revoked(self, call: CallContext, cut: Callable[[], None]) -> None:
        """Calls `cut` when the key of this admitted call ends while it runs; at most once, and not after the
        call has ended."""
        self._open_calls.add(call, cut)
        if not self._callers.holds(_principal_of(call)):
            # It may have ended between the gate and here.
            self._open_calls.check(call, cut)

    def _known(self, call: CallContext) -> Principal | None:
        """Who calls; None when auth must be asked. Raises HeadgateError."""
        if self._news:
            self._catch_up()
        principal = self._callers.known(_credential_of(call))
        if principal is not None:
            if self._credentials_watch.age_seconds() > self._max_silence_s:
                raise errors.auth_is_away()
            self._check(principal, call)
        return principal

    async def _find(self, call: CallContext) -> Principal:
        """Who calls, asked of auth. Raises HeadgateError."""
        principal = await self._callers.find(_credential_of(call), call.trace)
        if self._news:  # may be about this very answer
            return self._known(call) or await self._find(call)
        self._check(principal, call)
        return principal

    def _check(self, principal: Principal, call: CallContext) -> None:
        record = call.record
        record.account_id = principal.account_id
        record.principal_id = principal.id
        record.key_prefix = principal.key_prefix
        if principal.expires_at_ms and principal.expires_at_ms <= self._clock.wall_ms():
            raise errors.expired_key()
        if not may_come_from(principal, record.client_address):
            raise errors.wrong_address()

    async def _is_good(self, call: CallContext) -> bool:
        """Whether the call's credential would be let in now. An auth that is away leaves running calls alone:
        when it comes back, the watch starts again and all are checked again."""
        try:
            self._known(call) or await self._find(call)
        except HeadgateError as refusal:
            return refusal.condition.http not in {401, 403}
        return True

    def _catch_up(self) -> None:
        """What the thread has heard comes into force: at the next call, however long the loop's queue is."""
        while self._news:
            self._on_credentials(self._news.popleft())

    def _on_credentials(self, update: Update[auth_pb2.Principal]) -> None:
        if update.restarted:
            self._callers.forget_all(update.position)
            self._open_calls.check_all()
        else:
            self._callers.forget(update.deletes, update.position)
            self._open_calls.check_named(update.deletes)

    def _on_policies(self, update: Update[metering_pb2.RatePolicy]) -> None:
        self._policies.replace(update.items.values())


def _credential_of(call: CallContext) -> str:
    credential = from_metadata(call.metadata)
    if credential is None:
        raise errors.no_credential()
    return credential


def _principal_of(call: CallContext) -> Principal:
    if call.principal is None:
        raise RuntimeError("the call has not been admitted")
    return call.principal


def _credentials_watch(
    auth: AuthClient, on_update: Callable[[Update[auth_pb2.Principal]], None], clock: Clock
) -> Watcher[auth_pb2.Principal]:
    async def follow(position: Position) -> StreamReply[auth_pb2.WatchCredentialsResponse]:
        return await auth.watch_credentials(auth_pb2.WatchCredentialsRequest(position=position))

    return Watcher("credentials", follow, lambda principal: principal.id, on_update, clock=clock)


def _policies_watch(
    metering: MeteringClient,
    on_update: Callable[[Update[metering_pb2.RatePolicy]], None],
    clock: Clock,
    snapshots: Path | None,
) -> Watcher[metering_pb2.RatePolicy]:
    async def follow(position: Position) -> StreamReply[metering_pb2.WatchPoliciesResponse]:
        return await metering.watch_policies(metering_pb2.WatchPoliciesRequest(position=position))

    file = None
    if snapshots is not None:
        file = SnapshotFile(snapshots / "policies", metering_pb2.WatchPoliciesResponse, clock)
    return Watcher("policies", follow, lambda policy: policy.name, on_update, clock=clock, snapshot=file)

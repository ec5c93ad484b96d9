"""Who a credential stands for, remembered: the first sight of a credential costs one question to auth, later
ones a look into a dictionary, until auth says to forget."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headgate.auth.v1.auth_pb2 import AuthenticateResponse
from headgate.watch.v1.watch_pb2 import Position
from headgate_admission.errors import auth_is_away, invalid_key
from headgate_admission.principal import Principal, from_message
from headgate_clock import Clock
from headgate_credentials import cache_key, parse
from headgate_rpc.errors import HeadgateError, Reason
from headgate_telemetry.record import TraceContext

Ask = Callable[[str, TraceContext | None], Awaitable[AuthenticateResponse]]
"""Asks auth about a credential, in the trace of the call that waits for the answer, if one does."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """How much is remembered and for how long, in seconds; sizes are entries."""

    size: int = 100_000
    refused_size: int = 10_000
    refused_s: float = 10.0
    # Auth learns from renewals that a key is in use, and a change that was missed lasts no longer.
    renew_s: float = 60.0
    # Longest that a request waits for auth.
    wait_s: float = 0.25


@dataclass(slots=True)
class _Entry:
    principal: Principal
    renew_at: float


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: Reason
    message: str
    until: float

    def error(self) -> HeadgateError:
        # A new one each time: an error carries the metadata of the call it ends.
        return HeadgateError(self.reason, self.message)


class _Away:
    """Auth did not answer in time."""


_Outcome = _Entry | _Refusal | _Away


class Callers:
    """The cache of principals of one process, keyed by the SHA-256 of the credential. `waits` counts calls that
    waited for auth."""

    def __init__(self, ask: Ask, clock: Clock, limits: CallerLimits) -> None:
        self._ask = ask
        self._clock = clock
        self._limits = limits
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._refusals: OrderedDict[bytes, _Refusal] = OrderedDict()
        self._keys_of: dict[str, set[bytes]] = {}
        self._flights: dict[bytes, asyncio.Task[_Outcome]] = {}
        self._position = Position()
        self._changes = 0
        self.waits = 0

    def known(self, credential: str) -> Principal | None:
        """The principal if it is remembered; renewed in the background once it is a minute old."""
        key = cache_key(credential)
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        if self._clock.monotonic() >= entry.renew_at:
            entry.renew_at = self._clock.monotonic() + self._limits.renew_s
            self._flight(key, credential, None)
        return entry.principal

    async def find(self, credential: str, trace: TraceContext) -> Principal:
        """The principal, asked of auth if need be; concurrent calls share one question, in the trace of the first.

        Raises INVALID_CREDENTIALS, TOKEN_EXPIRED, or SERVICE_UNAVAILABLE when auth does not answer in time.
        """
        key = cache_key(credential)
        while True:
            outcome = (
                self._entries.get(key) or self._refused(key) or await self._answer(key, credential, trace)
            )
            if isinstance(outcome, _Refusal):
                raise outcome.error()
            if isinstance(outcome, _Away):
                raise auth_is_away()
            # Forgotten between the answer and this line: it may be an old truth.
            if self._entries.get(key) is outcome:
                return outcome.principal

    def holds(self, principal: Principal) -> bool:
        """Whether this very principal is remembered, that is, nothing was heard against it."""
        keys = self._keys_of.get(f"principal/{principal.id}", ())
        return any(self._entries[key].principal == principal for key in keys)

    def forget(self, names: tuple[str, ...], position: Position) -> None:
        """Forgets `principal/<id>` or `account/<id>`; older answers of auth are void from now on."""
        self._position = position
        self._changes += 1
        self._refusals.clear()
        for name in names:
            for key in tuple(self._keys_of.get(name, ())):
                self._drop(key)

    def forget_all(self, position: Position) -> None:
        """Forgets everybody: changes may have been missed."""
        self._position = position
        self._changes += 1
        self._refusals.clear()
        self._entries.clear()
        self._keys_of.clear()

    def _refused(self, key: bytes) -> _Refusal | None:
        refusal = self._refusals.get(key)
        if refusal is not None and refusal.until <= self._clock.monotonic():
            del self._refusals[key]
            return None
        return refusal

    async def _answer(self, key: bytes, credential: str, trace: TraceContext) -> _Outcome:
        if parse(credential) is None:
            raise invalid_key()
        self.waits += 1
        # The question outlives whoever asked it first: others wait for it too.
        return await asyncio.shield(self._flight(key, credential, trace))

    def _flight(self, key: bytes, credential: str, trace: TraceContext | None) -> "asyncio.Task[_Outcome]":
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._question(key, credential, trace))
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return flight

    async def _question(self, key: bytes, credential: str, trace: TraceContext | None) -> _Outcome:
        try:
            async with asyncio.timeout(self._limits.wait_s):
                return self._remember(key, await self._fresh_answer(credential, trace))
        except HeadgateError as error:
            if error.condition.http != 401:
                return _Away()
            return self._remember_refusal(key, error)
        except TimeoutError:
            return _Away()

    async def _fresh_answer(self, credential: str, trace: TraceContext | None) -> Principal:
        """Asks until the answer is newer than every invalidation seen."""
        while True:
            changes = self._changes
            answer = await self._ask(credential, trace)
            if not self._is_outdated(answer.position, changes):
                return from_message(answer.principal)

    def _is_outdated(self, position: Position, changes: int) -> bool:
        if position.epoch == self._position.epoch:
            return position.version < self._position.version
        # Another replica of auth than the one we hear: their versions cannot be compared, but a change that was heard
        # before we asked had been stored before.
        return changes != self._changes

    def _remember(self, key: bytes, principal: Principal) -> _Entry:
        self._drop(key)
        entry = _Entry(principal, self._clock.monotonic() + self._limits.renew_s)
        self._entries[key] = entry
        for name in _names(principal):
            self._keys_of.setdefault(name, set()).add(key)
        if len(self._entries) > self._limits.size:
            self._drop(next(iter(self._entries)))
        return entry

    def _remember_refusal(self, key: bytes, error: HeadgateError) -> _Refusal:
        self._drop(key)
        refusal = _Refusal(error.reason, error.message, self._clock.monotonic() + self._limits.refused_s)
        self._refusals[key] = refusal
        if len(self._refusals) > self._limits.refused_size:
            self._refusals.popitem(last=False)
        return refusal

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        for name in _names(entry.principal):
            keys = self._keys_of[name]
            keys.discard(key)
            if not keys:
                del self._keys_of[name]


def _names(principal: Principal) -> tuple[str, str]:
    return f"principal/{principal.id}", f"account/{principal.account_id}"

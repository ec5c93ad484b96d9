"""Ends calls that nobody will end: those of a producer that has been silent for too long."""

from collections.abc import Mapping
from dataclasses import dataclass

from headgate.metering.v1 import metering_pb2
from headgate.registry.v1 import registry_pb2
from headgate_clock import Clock
from headgate_database import StoreAwayError
from headgate_metering.store import LedgerStore
from headgate_metering.usage_event import Ending, OpenCall, Outcome, Quantities, Settlement
from headgate_money import FLAT, cost_nano_usd

# One transaction's worth; a longer one would hold up the events of live producers.
_ROUND = 500


@dataclass(frozen=True, slots=True)
class _Heard:
    beats: int
    silent_s: float = 0.0


class Sweeper:
    """Watches the beats that the ledger counts, whichever replica a producer talks to, on its own monotonic clock:
    neither a restart of metering nor a wrong wall clock makes a producer look silent. Nor does metering's own
    absence: a look at the ledger that comes late counts for `silence_s / 4` at most, and after one that failed
    everybody has the whole time again."""

    def __init__(self, store: LedgerStore, clock: Clock, silence_s: float = 60.0) -> None:
        self._store = store
        self._clock = clock
        self._silence_s = silence_s
        self._looked_at = clock.monotonic()
        self._heard: dict[str, _Heard] = {}

    async def sweep(self) -> int:
        """Settle as EXPIRED the open calls of every producer that has been silent for `silence_s` seconds; says
        how many there were. Call it often, at least five times in `silence_s`. Raises StoreAwayError."""
        try:
            return await self._settle(self._silent(await self._store.producers()))
        except StoreAwayError:
            self._heard = {}
            raise

    async def _settle(self, silent: Mapping[str, int]) -> int:
        swept = 0
        while silent:
            count = await self._store.expire(silent, expired, _ROUND)
            swept += count
            if count < _ROUND:
                break
        return swept

    def _silent(self, beats: Mapping[str, int]) -> dict[str, int]:
        now = self._clock.monotonic()
        passed_s = min(now - self._looked_at, self._silence_s / 4)
        self._looked_at, known = now, self._heard
        self._heard = {
            producer: _Heard(count, known[producer].silent_s + passed_s)
            if producer in known and known[producer].beats == count
            else _Heard(count)
            for producer, count in beats.items()
        }
        return {
            producer: heard.beats
            for producer, heard in self._heard.items()
            if heard.silent_s >= self._silence_s
        }


def expired(open_call: OpenCall) -> Settlement:
    """What is known of a call whose producer is gone: the last checkpoint, at the price of the intent."""
    return Settlement(
        call=open_call.call,
        ending=Ending(Outcome.EXPIRED, open_call.model, open_call.provider, estimated=True),
        quantities=open_call.progress,
        cost_nano_usd=_cost(open_call.price, open_call.progress),
        swept=True,
    )


def _cost(price: bytes | None, progress: Quantities) -> int:
    quantities = metering_pb2.Quantities(
        input_tokens=progress.input_tokens,
        output_tokens=progress.output_tokens,
        cached_input_tokens=progress.cached_input_tokens,
        reasoning_tokens=progress.reasoning_tokens,
    )
    return cost_nano_usd(FLAT if price is None else registry_pb2.Price.FromString(price), quantities)

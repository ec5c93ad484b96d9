"""What the journals of the data plane tell, as the ledger sees it. Amounts are nano-USD, times milliseconds
since the Unix epoch, durations milliseconds.

What there is one of for each call is a msgspec structure: a frozen dataclass of the same fields takes 2 µs to make,
and the ledger shares its process with the request path."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

DAY_MS = 86_400_000


class Outcome(IntEnum):
    """How a call ended, by the numbers of the contract."""

    UNSPECIFIED = 0
    COMPLETED = 1
    CANCELLED = 2
    UPSTREAM_CUT = 3
    TIMED_OUT = 4
    FAILED = 5
    EXPIRED = 6


class Quantities(Struct, frozen=True, gc=False):
    """Tokens; cached ones are part of the input, reasoning ones part of the output."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Quantities") -> "Quantities":
        return Quantities(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def __sub__(self, other: "Quantities") -> "Quantities":
        return Quantities(
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cached_input_tokens - other.cached_input_tokens,
            self.reasoning_tokens - other.reasoning_tokens,
        )


NOTHING = Quantities()


class Call(Struct, frozen=True, gc=False):
    """Whose call it was, what it asked for, at what price, and which journal record said so."""

    call_id: str
    account_id: str
    principal_id: str
    request_id: str
    trace_id: str
    endpoint: str
    requested_model: str
    price_version: str
    started_at_ms: int
    producer_id: str
    seq: int


class OpenCall(Struct, frozen=True, gc=False):
    """A call that has an intent or a checkpoint and no end yet. `model` and `provider` are the first choice,
    `price` is the serialized price (None: the flat one). `progress` is the input as estimated at the intent and
    the output of the checkpoint with the highest `progress_seq` (0: none)."""

    call: Call
    model: str
    provider: str
    price: bytes | None
    worst_case_nano_usd: int
    progress: Quantities = NOTHING
    progress_seq: int = 0

    @property
    def begun(self) -> bool:
        """Whether the intent is there: a checkpoint names its call and nothing else."""
        return bool(self.call.account_id)


class Ending(Struct, frozen=True, gc=False):
    """How a call ended, what ran it, how long it took. `outcome` is a number of `Outcome`; `first_token_ms` 0
    means that nothing was streamed."""

    outcome: int
    model: str
    provider: str
    estimated: bool = False
    latency_ms: int = 0
    first_token_ms: int = 0
    attempts: int = 0
    error_reason: str = ""


class Settlement(Struct, frozen=True, gc=False):
    """An ended call and its cost: one row of the ledger. `swept` marks the sweeper's estimate, which a late
    settle corrects."""

    call: Call
    ending: Ending
    quantities: Quantities
    cost_nano_usd: int
    swept: bool = False


class Adjustment(Struct, frozen=True, gc=False):
    """A correction of a settled call: differences, never a second settle. `source` makes it unique within the
    call; `ending` is there when the call's true end came after another had been booked."""

    call_id: str
    source: str
    quantities: Quantities
    cost_nano_usd: int
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that cannot be booked, kept as it came. `digest` is the SHA-256 of the payload."""

    digest: str
    payload: bytes
    reason: str
    producer_id: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one producer that are booked together; their order does not matter."""

    producer_id: str
    open_calls: Sequence[OpenCall] = ()
    settlements: Sequence[Settlement] = ()
    adjustments: Sequence[Adjustment] = ()
    dead_letters: Sequence[DeadLetter] = ()


class Usage(Struct, frozen=True, gc=False):
    """A sum over settled calls."""

    requests: int = 0
    quantities: Quantities = NOTHING
    cost_nano_usd: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.quantities + other.quantities,
            self.cost_nano_usd + other.cost_nano_usd,
        )


def checkpoint(call_id: str, progress: Quantities, producer_id: str, seq: int) -> OpenCall:
    """What a checkpoint alone says of a call: how far it has come. The rest is the intent's to say."""
    call = Call(call_id, "", "", "", "", "", "", "", 0, producer_id, seq)
    return OpenCall(call, "", "", None, 0, progress, seq)


def late_adjustment(late: Settlement, booked: Settlement) -> Adjustment:
    """What turns a row into the settle that came after it and corrects it. One for each call: the source is the
    same however often it comes."""
    return Adjustment(
        call_id=late.call.call_id,
        source="settle",
        quantities=late.quantities - booked.quantities,
        cost_nano_usd=late.cost_nano_usd - booked.cost_nano_usd,
        ending=late.ending,
    )


def corrected(settlement: Settlement, adjustments: Iterable[Adjustment]) -> Settlement:
    """The settlement with its corrections applied."""
    for each in adjustments:
        settlement = replace(
            settlement,
            ending=each.ending or settlement.ending,
            quantities=settlement.quantities + each.quantities,
            cost_nano_usd=settlement.cost_nano_usd + each.cost_nano_usd,
        )
    return settlement

"""What is believed of a provider's usage, and what is billed."""

from dataclasses import dataclass

from headgate.inference.v1 import inference_pb2 as pb
from headgate.metering.v1.metering_pb2 import Quantities

# Beyond this a count is a slip of the provider, not a usage.
_ABSURD = 10**9


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a call's size before it runs: bytes and tokens of its input, the most output it can make,
    and the most its caller allows (None: no limit)."""

    input_bytes: int
    input_tokens: int
    most_output: int
    allowed_output: int | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a call is booked with."""

    quantities: Quantities
    estimated: bool


def bill(stated: pb.Usage | None, estimate: Estimate, *, counted: int, written: int | None = None) -> Bill:
    """The provider's figures where it gave any, with the output between what was `counted` (pieces of content
    that came from it) and what the caller allowed. Without them the input is estimated, and the output is what
    was counted, or `written` tokens of a whole reply."""
    if stated is None or not _believable(stated):
        output = counted if written is None else written
        return Bill(Quantities(input_tokens=estimate.input_tokens, output_tokens=output), estimated=True)
    output = stated.output_tokens
    if estimate.allowed_output is not None:
        output = min(output, estimate.allowed_output)
    output = max(output, counted)
    quantities = Quantities(
        input_tokens=stated.input_tokens,
        output_tokens=output,
        cached_input_tokens=min(stated.cached_input_tokens, stated.input_tokens),
        reasoning_tokens=min(stated.reasoning_tokens, output),
    )
    return Bill(quantities, estimated=False)


def write(charged: Bill, stated: pb.Usage | None, usage: pb.Usage) -> None:
    """Tell the caller what was booked, with the provider's further usage fields."""
    quantities = charged.quantities
    usage.input_tokens = quantities.input_tokens
    usage.output_tokens = quantities.output_tokens
    usage.cached_input_tokens = quantities.cached_input_tokens
    usage.reasoning_tokens = quantities.reasoning_tokens
    usage.estimated = charged.estimated
    if stated is not None and not charged.estimated:
        usage.extra_json = stated.extra_json


def _believable(usage: pb.Usage) -> bool:
    figures = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens)
    return all(0 <= figure <= _ABSURD for figure in figures)

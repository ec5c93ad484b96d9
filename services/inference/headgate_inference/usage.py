"""What is believed of a provider's usage, and what is billed."""

from msgspec import Struct

from headgate.inference.v1 import inference_pb2 as pb
from headgate_money import TokenCounts

# Beyond this a count is a slip of the provider, not a usage.
_ABSURD = 10**9


class Estimate(Struct, frozen=True, gc=False):
    """What is known of a call's size before it runs: bytes and tokens of its input, the most output it can make,
    and the most its caller allows (None: no limit)."""

    input_bytes: int
    input_tokens: int
    most_output: int
    allowed_output: int | None


class Bill(Struct, frozen=True, gc=False):
    """What a call is booked with. `as_stated`: with the very figures of the provider."""

    counts: TokenCounts
    estimated: bool
    as_stated: bool = False


def bill(stated: pb.Usage | None, estimate: Estimate, *, counted: int, written: int | None = None) -> Bill:
    """The provider's figures where it gave any, with the output between what was `counted` (pieces of content
    that came from it) and what the caller allowed. Without them the input is estimated, and the output is what
    was counted, or `written` tokens of a whole reply."""
    figures = None if stated is None else _figures(stated)
    if figures is None or not 0 <= min(figures) <= max(figures) <= _ABSURD:
        output = counted if written is None else written
        return Bill(TokenCounts(estimate.input_tokens, output), estimated=True)
    output = figures.output_tokens
    if estimate.allowed_output is not None:
        output = min(output, estimate.allowed_output)
    output = max(output, counted)
    counts = TokenCounts(
        figures.input_tokens,
        output,
        min(figures.cached_input_tokens, figures.input_tokens),
        min(figures.reasoning_tokens, output),
    )
    return Bill(counts, estimated=False, as_stated=counts == figures)


def write(charged: Bill, stated: pb.Usage | None, usage: pb.Usage) -> None:
    """Tell the caller what was booked, with the provider's further usage fields."""
    if charged.as_stated and stated is usage:
        return
    counts = charged.counts
    usage.input_tokens = counts.input_tokens
    usage.output_tokens = counts.output_tokens
    usage.cached_input_tokens = counts.cached_input_tokens
    usage.reasoning_tokens = counts.reasoning_tokens
    usage.estimated = charged.estimated
    if stated is not None and not charged.estimated:
        usage.extra_json = stated.extra_json


def _figures(usage: pb.Usage) -> TokenCounts:
    return TokenCounts(
        usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens
    )

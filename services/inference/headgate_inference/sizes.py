"""How large a request is before any tokenizer has seen it. No tokenizer is loaded in inference (decisions.md 7):
four bytes of text count as one token."""

from collections.abc import Iterable, Iterator

from headgate.inference.v1 import inference_pb2 as pb

BYTES_PER_TOKEN = 4
# A picture, a sound or a file: its bytes say nothing about its tokens, so each counts as 1,000.
_PART_BYTES = 1000 * BYTES_PER_TOKEN
_DEFAULT_OUTPUT = 256


def prompt_bytes(spec: pb.GenerationSpec) -> int:
    """Bytes of everything the model reads."""
    size = 0
    for message in spec.messages:
        text = message.text
        size += len(text) if text.isascii() else len(text.encode())
        if message.parts:
            size += sum(_part_bytes(part) for part in message.parts)
        if message.tool_calls:
            size += sum(_utf8(call.name) + _utf8(call.arguments) for call in message.tool_calls)
    for tool in spec.tools:
        size += len(tool.parameters_json) + len(tool.other_json) + _utf8(tool.name) + _utf8(tool.description)
    return size


def input_bytes(request: pb.EmbedRequest) -> int:
    """Bytes of all inputs; an input given as token ids counts as so many tokens."""
    return text_bytes(request.texts) + BYTES_PER_TOKEN * sum(len(each.ids) for each in request.tokens)


def reply_bytes(reply: pb.GenerateResponse) -> int:
    """Bytes of everything the model wrote."""
    return text_bytes(_written(reply))


def text_bytes(texts: Iterable[str]) -> int:
    """Bytes of these texts in UTF-8."""
    return sum(map(_utf8, texts))


def tokens(size: int) -> int:
    """The estimate for a text of `size` bytes."""
    return -(-size // BYTES_PER_TOKEN)


def output_limit(spec: pb.GenerationSpec) -> int | None:
    """The most output tokens the caller allows over all choices, None where it sets no limit."""
    # A limit that is there is at least 1.
    limit = spec.max_completion_tokens or spec.max_tokens
    return limit * (spec.n or 1) if limit else None


def expected_output(choices: int, limit: int | None) -> int:
    """Output tokens to reserve against the token rate, with the caller's limit over all choices."""
    return _DEFAULT_OUTPUT * choices if limit is None else limit


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _part_bytes(part: pb.ContentPart) -> int:
    return _utf8(part.text) if part.HasField("text") else _PART_BYTES


def _written(reply: pb.GenerateResponse) -> Iterator[str]:
    for choice in reply.choices:
        yield choice.message.text
        for call in choice.message.tool_calls:
            yield call.name
            yield call.arguments

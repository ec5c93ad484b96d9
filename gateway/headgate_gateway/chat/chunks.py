"""Pieces of a streamed reply as server-sent events with `chat.completion.chunk` objects (CHAT-13 to CHAT-17)."""

from collections.abc import Iterator

from headgate.inference.v1.inference_pb2 import (
    ROLE_UNSPECIFIED,
    ChoiceDelta,
    StreamEvent,
    StreamGenerateResponse,
    StreamStart,
)
from headgate_gateway.chat.pieces import role_name, spliced, to_json, tool_calls_json, usage_of

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

# Clients that split text at Unicode line ends would split an event there.
_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def error_event(envelope: bytes) -> bytes:
    """The event that ends a stream that failed (CHAT-18)."""
    return b"data: " + envelope + b"\n\n"


class ChunkRenderer:
    """Turns the messages of one stream into events. Every choice begins with a delta that has the role and empty
    content, and ends with one that has nothing but the finish reason, however the provider cut them."""

    __slots__ = ("_begun", "_head", "_usage")

    def __init__(self, start: StreamStart, *, include_usage: bool) -> None:
        self._begun: set[int] = set()
        self._usage = include_usage
        self._set_head(start)

    def _set_head(self, start: StreamStart) -> None:
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            to_json(start.id), start.created, to_json(start.model),
        )  # fmt: skip

    def render(self, message: StreamGenerateResponse) -> list[bytes]:
        """The events of one message, each with its empty line."""
        if not self._begun and message.HasField("start"):
            self._set_head(message.start)
        events: list[bytes] = []
        for event in message.events:
            choices = event.choices
            if len(choices) == 1 and self._is_plain(event, delta := choices[0]):
                events.append(
                    b'%b{"index":%d,"delta":{"content":%b},"finish_reason":null}]}\n\n'
                    % (self._head, delta.index, _one_line(to_json(delta.text)))
                )
            else:
                events.extend(self._event(event))
        return events

    def _is_plain(self, event: StreamEvent, delta: ChoiceDelta) -> bool:
        """Whether the event is nothing but text of one choice that has begun: nearly every event is."""
        return not (
            delta.finish_reason
            or delta.role
            or delta.extra_json
            or delta.delta_extra_json
            or event.extra_json
            or delta.index not in self._begun
            or delta.tool_calls
            or not delta.HasField("text")
            or event.HasField("usage")
        )

    def _event(self, event: StreamEvent) -> Iterator[bytes]:
        tail = b"]%b}\n\n" % _one_line(spliced(event.extra_json))
        for delta in event.choices:
            for choice in self._choice(delta):
                yield self._head + _one_line(choice) + tail
        if self._usage and event.HasField("usage"):
            yield b'%b],"usage":%b%b}\n\n' % (
                self._head, _one_line(to_json(usage_of(event.usage))), _one_line(spliced(event.extra_json)),
            )  # fmt: skip

    def _choice(self, delta: ChoiceDelta) -> Iterator[bytes]:
        gained = _gained(delta)
        if delta.index not in self._begun:
            self._begun.add(delta.index)
            yield b'{"index":%d,"delta":{"role":%b,"content":""},"finish_reason":null}' % (
                delta.index, to_json(role_name(delta.role)),
            )  # fmt: skip
        elif delta.role != ROLE_UNSPECIFIED and gained:
            gained = b'"role":%b,%b' % (to_json(role_name(delta.role)), gained)
        extra = spliced(delta.extra_json)
        if gained or (extra and not delta.finish_reason):
            yield b'{"index":%d,"delta":{%b},"finish_reason":null%b}' % (delta.index, gained, extra)
            extra = b""
        if delta.finish_reason:
            reason = to_json(delta.finish_reason)
            yield b'{"index":%d,"delta":{},"finish_reason":%b%b}' % (delta.index, reason, extra)


def _gained(delta: ChoiceDelta) -> bytes:
    """The members of `delta` without its role; empty text is no gain."""
    members = b""
    if delta.text:
        members += b',"content":' + to_json(delta.text)
    if delta.tool_calls:
        members += b',"tool_calls":' + tool_calls_json(delta.tool_calls, indexed=True)
    members += spliced(delta.delta_extra_json)
    return members[1:]


def _one_line(data: bytes) -> bytes:
    if b"\n" in data or b"\r" in data:
        # Only ever between the tokens of a provider's own JSON: within strings they are escaped.
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    if not data.isascii():
        for found, written in _LINE_ENDS:
            data = data.replace(found, written)
    return data

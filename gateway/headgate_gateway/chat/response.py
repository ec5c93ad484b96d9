"""A whole reply as a `chat.completion` object (CHAT-7 to CHAT-10)."""

from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType

from headgate.inference.v1.inference_pb2 import Choice, ContentPart, GenerateResponse, Message
from headgate_gateway.chat.pieces import extended, role_name, spliced, to_json, tool_calls_json, usage_of


class _Completion(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: Sequence[Struct | Raw]
    usage: Struct | Raw


class _Choice(Struct):
    index: int
    message: Struct | Raw
    finish_reason: str | None


class _Message(Struct):
    role: str
    content: str | Raw | None
    tool_calls: Raw | UnsetType = UNSET


def completion_json(reply: GenerateResponse) -> bytes:
    """The reply as JSON."""
    choices = [_choice(choice) for choice in reply.choices[:]]
    made = _Completion(
        reply.id, "chat.completion", reply.created, reply.model, choices, usage_of(reply.usage)
    )
    return to_json(extended(made, reply.extra_json))


def _choice(choice: Choice) -> Struct | Raw:
    made = _Choice(choice.index, _message(choice.message), choice.finish_reason or None)
    return extended(made, choice.extra_json)


def _message(message: Message) -> Struct | Raw:
    made = _Message(role_name(message.role), _content(message))
    if message.tool_calls:
        made.tool_calls = Raw(tool_calls_json(message.tool_calls, indexed=False))
    return extended(made, message.extra_json)


def _content(message: Message) -> str | Raw | None:
    if message.HasField("text"):
        return message.text
    if message.parts:
        return Raw(b"[" + b",".join(map(_part, message.parts)) + b"]")
    return None


def _part(part: ContentPart) -> bytes:
    kind = part.WhichOneof("part")
    if kind == "other_json":
        return part.other_json
    if kind == "image":
        body: object = {"type": "image_url", "image_url": {"url": part.image.url}}
    elif kind == "audio":
        body = {
            "type": "input_audio",
            "input_audio": {"data": part.audio.data_base64, "format": part.audio.format},
        }
    elif kind == "file":
        body = {"type": "file", "file": {"file_id": part.file.file_id, "filename": part.file.filename}}
    else:
        body = {"type": "text", "text": part.text}
    return to_json(body)[:-1] + spliced(part.extra_json) + b"}"

"""A whole reply as a `chat.completion` object (CHAT-7 to CHAT-10)."""

from headgate.inference.v1.inference_pb2 import Choice, ContentPart, GenerateResponse, Message
from headgate_gateway.chat.pieces import role_name, spliced, to_json, tool_calls_json, usage_json


def completion_json(reply: GenerateResponse) -> bytes:
    """The reply as JSON."""
    return b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,"choices":[%b],"usage":%b%b}' % (
        to_json(reply.id),
        reply.created,
        to_json(reply.model),
        b",".join(map(_choice, reply.choices)),
        usage_json(reply.usage),
        spliced(reply.extra_json),
    )


def _choice(choice: Choice) -> bytes:
    return b'{"index":%d,"message":%b,"finish_reason":%b%b}' % (
        choice.index,
        _message(choice.message),
        to_json(choice.finish_reason or None),
        spliced(choice.extra_json),
    )


def _message(message: Message) -> bytes:
    calls = b""
    if message.tool_calls:
        calls = b',"tool_calls":' + tool_calls_json(message.tool_calls, indexed=False)
    return b'{"role":%b,"content":%b%b%b}' % (
        role_name(message.role),
        _content(message),
        calls,
        spliced(message.extra_json),
    )


def _content(message: Message) -> bytes:
    if message.HasField("text"):
        return to_json(message.text)
    if message.parts:
        return b"[" + b",".join(map(_part, message.parts)) + b"]"
    return b"null"


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

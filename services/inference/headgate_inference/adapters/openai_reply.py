"""OpenAI-style JSON replies as canonical messages.

Works on objects of raw members: each known member is decoded by its type, whatever is left travels as extra
JSON, byte for byte. All functions raise ValueError (msgspec's errors are) for what has the wrong shape."""

import base64
import struct

import msgspec

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.openai_plain_reply import plain_reply
from headgate_inference.adapters.openai_request import ROLE_OF
from headgate_inference.extras import Fields, decode, pack

_text = msgspec.json.Decoder(str | None).decode
_whole = msgspec.json.Decoder(int | None).decode
_objects = msgspec.json.Decoder(list[Fields] | None).decode
_object = msgspec.json.Decoder(Fields | None).decode
_number = msgspec.json.Decoder(float | None).decode
_vector = msgspec.json.Decoder(list[float] | str).decode

_NULL = msgspec.Raw(b"null")
_NOTHING = (b"null", b'""', b"[]", b"{}")


class ProviderSpokeError(ValueError):
    """The body is an error object of the provider rather than a reply; `fields` are its members."""

    def __init__(self, fields: Fields) -> None:
        super().__init__("the provider sent an error")
        self.fields = fields


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream. `units` counts the choice deltas that carry content."""

    event: pb.StreamEvent
    id: str
    created: int
    units: int
    usage: pb.Usage | None


def chat_reply(data: bytes) -> pb.GenerateResponse:
    """A `chat.completion`. `id`, `created` and `usage` are set only where the provider gave them."""
    try:
        return plain_reply(data)
    except (ValueError, RecursionError):
        return any_reply(data)


def any_reply(data: bytes) -> pb.GenerateResponse:
    """`chat_reply` for whatever members the reply has."""
    fields = _reply_fields(data)
    reply = pb.GenerateResponse(id=_pop_text(fields, "id"), created=_created(fields))
    choices = _objects(fields.pop("choices", _NULL))
    if not choices:
        raise ValueError("a reply without choices")
    for place, choice in enumerate(choices):
        _add_choice(reply, place, choice)
    if (usage := _usage(fields)) is not None:
        reply.usage.CopyFrom(usage)
    _drop_known(fields)
    if fields:
        reply.extra_json = pack(fields)
    return reply


def chat_chunk(data: bytes) -> Chunk:
    """A `chat.completion.chunk`."""
    fields = _reply_fields(data)
    chunk = Chunk(pb.StreamEvent(), _pop_text(fields, "id"), _created(fields), 0, _usage(fields))
    for choice in _objects(fields.pop("choices", _NULL)) or ():
        _add_delta(chunk, choice)
    _drop_known(fields)
    if fields:
        chunk.event.extra_json = pack(fields)
    return chunk


def embeddings_reply(data: bytes, count: int) -> pb.EmbedResponse:
    """An embeddings list of `count` vectors, put in order of their `index`."""
    fields = _reply_fields(data)
    items = _objects(fields.pop("data", _NULL)) or ()
    vectors: list[list[float] | None] = [None] * count
    for place, item in enumerate(items):
        index = _whole(item.get("index", _NULL))
        index = place if index is None else index
        if not 0 <= index < count:
            raise ValueError("a vector without an input")
        vectors[index] = _floats(item.get("embedding", _NULL))
    reply = pb.EmbedResponse()
    for vector in vectors:
        if not vector:
            raise ValueError("a vector is missing")
        reply.embeddings.add(values=vector)
    if (usage := _usage(fields)) is not None:
        reply.usage.CopyFrom(usage)
    _drop_known(fields)
    if fields:
        reply.extra_json = pack(fields)
    return reply


def _reply_fields(data: bytes) -> Fields:
    fields = decode(data)
    error = fields.get("error")
    if error is not None and bytes(error) != b"null":
        raise ProviderSpokeError(fields)
    return fields


def _drop_known(fields: Fields) -> None:
    # Ours to say: the kind of object, and the model's name as the caller knows it.
    fields.pop("object", None)
    fields.pop("model", None)


def _pop_text(fields: Fields, name: str) -> str:
    raw = fields.pop(name, None)
    return "" if raw is None else _text(raw) or ""


def _created(fields: Fields) -> int:
    raw = fields.pop("created", None)
    return 0 if raw is None else int(_number(raw) or 0)  # some providers write it as a float


def _add_choice(reply: pb.GenerateResponse, place: int, fields: Fields) -> None:
    index = _whole(fields.pop("index", _NULL))
    choice = reply.choices.add(
        index=place if index is None else index, finish_reason=_pop_text(fields, "finish_reason")
    )
    message = _object(fields.pop("message", _NULL))
    if message is None:
        raise ValueError("a choice without a message")
    _fill_message(choice.message, message)
    if fields:
        choice.extra_json = pack(fields)


def _fill_message(message: pb.Message, fields: Fields) -> None:
    message.role = ROLE_OF.get(_pop_text(fields, "role"), pb.ROLE_ASSISTANT)
    content = fields.pop("content", None)
    if content is not None:
        _fill_content(message, content)
    if (calls := fields.pop("tool_calls", None)) is not None:
        for place, call in enumerate(_objects(calls) or ()):
            _fill_call(message.tool_calls.add(), place, call)
    if fields:
        message.extra_json = pack(fields)


def _fill_content(message: pb.Message, content: msgspec.Raw) -> None:
    if bytes(content).startswith(b"["):  # some providers answer in parts
        for part in msgspec.json.decode(content, type=list[msgspec.Raw]):
            message.parts.add(other_json=bytes(part))
    elif (text := _text(content)) is not None:
        message.text = text


def _fill_call(call: pb.ToolCall, place: int, fields: Fields) -> None:
    index = _whole(fields.pop("index", _NULL))
    call.index = place if index is None else index
    call.id = _pop_text(fields, "id")
    call.type = _pop_text(fields, "type")
    if (function := _object(fields.pop("function", _NULL))) is not None:
        call.name = _pop_text(function, "name")
        arguments = function.pop("arguments", _NULL)
        # Some providers send the arguments as an object rather than as its text.
        call.arguments = arguments_text(arguments)
        if function:
            fields["function"] = msgspec.Raw(pack(function))
    if fields:
        call.extra_json = pack(fields)


def arguments_text(arguments: msgspec.Raw) -> str:
    """The arguments of a tool call as text, whether they came as a string or as an object."""
    raw = bytes(arguments)
    if raw[:1] == b"{":
        return raw.decode()
    return _text(raw) or ""


def _add_delta(chunk: Chunk, fields: Fields) -> None:
    raw = fields.pop("delta", None)
    delta = None if raw is None else _object(raw)
    choice = chunk.event.choices.add()
    index = fields.pop("index", None)
    if index is not None:
        choice.index = _whole(index) or 0
    if reason := _pop_text(fields, "finish_reason"):
        choice.finish_reason = reason
    if delta and _fill_delta(choice, delta):
        chunk.units += 1
    if fields:
        choice.extra_json = pack(fields)


def _fill_delta(choice: pb.ChoiceDelta, fields: Fields) -> bool:
    """Fill in a delta; True when it carries content."""
    has_content = False
    if (raw := fields.pop("content", None)) is not None and (text := _text(raw)) is not None:
        choice.text = text
        has_content = bool(text)
    if (raw := fields.pop("role", None)) is not None and (role := _text(raw)) is not None:
        choice.role = ROLE_OF.get(role, pb.ROLE_ASSISTANT)
    if (raw := fields.pop("tool_calls", None)) is not None:
        for place, call in enumerate(_objects(raw) or ()):
            _fill_call(choice.tool_calls.add(), place, call)
            has_content = True
    if fields:
        choice.delta_extra_json = pack(fields)
        has_content = has_content or any(bytes(value) not in _NOTHING for value in fields.values())
    return has_content


def _usage(fields: Fields) -> pb.Usage | None:
    """The usage a reply states; None where it states none, or nonsense: a wrong count must not cost the reply."""
    raw = fields.pop("usage", None)
    try:
        members = None if raw is None else _object(raw)
        return _stated(members) if members else None
    except (ValueError, RecursionError):
        return None


def _stated(members: Fields) -> pb.Usage | None:
    if "prompt_tokens" not in members:
        return None
    usage = pb.Usage(
        input_tokens=_whole(members.pop("prompt_tokens")) or 0,
        output_tokens=_whole(members.pop("completion_tokens", _NULL)) or 0,
        cached_input_tokens=_detail(members, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=_detail(members, "completion_tokens_details", "reasoning_tokens"),
    )
    members.pop("total_tokens", None)
    if members:
        usage.extra_json = pack(members)
    return usage


def _detail(members: Fields, group: str, name: str) -> int:
    details = _object(members.get(group, _NULL))
    return _whole(details.get(name, _NULL)) or 0 if details else 0


def _floats(raw: msgspec.Raw) -> list[float]:
    vector = _vector(raw)
    if isinstance(vector, list):
        return vector
    packed = base64.b64decode(vector, validate=True)
    if len(packed) % 4:
        raise ValueError("a vector of broken floats")
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))

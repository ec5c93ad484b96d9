"""The canonical request as an OpenAI-style JSON body."""

from collections.abc import Mapping

import msgspec

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.extras import encode, json_value, spread

Json = dict[str, object]

ROLES: "Mapping[pb.Role.ValueType, str]" = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
    pb.ROLE_DEVELOPER: "developer",
    pb.ROLE_FUNCTION: "function",
}
ROLE_OF: "Mapping[str, pb.Role.ValueType]" = {name: role for role, name in ROLES.items()}
_SPEC = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "tools",
        "tool_choice",
        "response_format",
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "stop",
        "logprobs",
        "top_logprobs",
        "stream",
        "stream_options",
    }
)
_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
_PART = frozenset({"type", "text", "image_url", "input_audio", "file"})
_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_CALL = frozenset({"index", "id", "type", "function"})
_FORMAT = frozenset({"type", "json_schema"})
_EMBED = frozenset({"model", "input", "dimensions", "encoding_format"})


def chat_body(spec: pb.GenerationSpec, upstream_id: str, *, stream: bool) -> bytes:
    """The body of a chat completion request. Raises HeadgateError INVALID_REQUEST for free JSON that is none."""
    messages = [_message(place, each) for place, each in enumerate(spec.messages)]
    body: Json = {"model": upstream_id, "messages": messages}
    if spec.HasField("sampling"):
        _add_sampling(body, spec.sampling)
    for name in ("max_tokens", "max_completion_tokens", "n"):
        if spec.HasField(name):
            body[name] = getattr(spec, name)
    if spec.tools:
        body["tools"] = [_tool(*each) for each in enumerate(spec.tools)]
    if spec.tool_choice_json:
        body["tool_choice"] = json_value(spec.tool_choice_json, "tool_choice")
    if spec.HasField("response_format"):
        body["response_format"] = _format(spec.response_format)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if spec.extra_json:
        body.update(spread(spec.extra_json, _SPEC, "extra_json"))
    return encode(body)


def embed_body(request: pb.EmbedRequest, upstream_id: str) -> bytes:
    """The body of an embeddings request; vectors are asked for as numbers."""
    inputs: list[str] | list[list[int]] = list(request.texts) or [list(each.ids) for each in request.tokens]
    body: Json = {"model": upstream_id, "input": inputs, "encoding_format": "float"}
    if request.HasField("dimensions"):
        body["dimensions"] = request.dimensions
    body.update(spread(request.extra_json, _EMBED, "extra_json"))
    return encode(body)


def _add_sampling(body: Json, sampling: pb.Sampling) -> None:
    for descriptor, value in sampling.ListFields():
        body[descriptor.name] = value
    body.pop("stop_is_string", None)
    if sampling.stop:
        body["stop"] = sampling.stop[0] if sampling.stop_is_string else list(sampling.stop)


def _message(place: int, message: pb.Message) -> Json:
    content: object = None
    if message.HasField("text"):
        content = message.text
    elif message.parts:
        content = [_part(part, f"messages[{place}].content[{i}]") for i, part in enumerate(message.parts)]
    body: Json = {"role": ROLES[message.role], "content": content}
    if message.name:
        body["name"] = message.name
    if message.tool_calls:
        body["tool_calls"] = [
            _call(call, f"messages[{place}].tool_calls[{i}]") for i, call in enumerate(message.tool_calls)
        ]
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    if message.extra_json:
        body.update(spread(message.extra_json, _MESSAGE, f"messages[{place}].extra_json"))
    return body


def _part(part: pb.ContentPart, path: str) -> Json | msgspec.Raw:
    kind = part.WhichOneof("part")
    if kind == "other_json":
        return json_value(part.other_json, path)
    body: Json
    if kind == "image":
        body = {"type": "image_url", "image_url": _given(url=part.image.url, detail=part.image.detail)}
    elif kind == "audio":
        body = {
            "type": "input_audio",
            "input_audio": _given(data=part.audio.data_base64, format=part.audio.format),
        }
    elif kind == "file":
        file = part.file
        inner = _given(file_id=file.file_id, filename=file.filename, file_data=file.data)
        body = {"type": "file", "file": inner}
    else:
        body = {"type": "text", "text": part.text}
    body.update(spread(part.extra_json, _PART, f"{path}.extra_json"))
    return body


def _tool(place: int, tool: pb.Tool) -> Json | msgspec.Raw:
    path = f"tools[{place}]"
    if tool.other_json:
        return json_value(tool.other_json, path)
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters_json:
        function["parameters"] = json_value(tool.parameters_json, f"{path}.function.parameters")
    if tool.HasField("strict"):
        function["strict"] = tool.strict
    function.update(spread(tool.extra_json, _FUNCTION, f"{path}.extra_json"))
    return {"type": "function", "function": function}


def _call(call: pb.ToolCall, path: str) -> Json:
    body: Json = {"id": call.id, "type": call.type or "function"}
    if body["type"] == "function" or call.name:
        body["function"] = {"name": call.name, "arguments": call.arguments}
    body.update(spread(call.extra_json, _CALL, f"{path}.extra_json"))
    return body


def _format(wanted: pb.ResponseFormat) -> Json:
    body: Json = {"type": wanted.type}
    if wanted.json_schema:
        body["json_schema"] = json_value(wanted.json_schema, "response_format.json_schema")
    body.update(spread(wanted.extra_json, _FORMAT, "response_format.extra_json"))
    return body


def _given(**fields: str) -> Json:
    return {name: value for name, value in fields.items() if value}

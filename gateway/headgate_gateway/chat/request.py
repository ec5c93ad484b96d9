"""The OpenAI-style chat body to the canonical GenerationSpec. What the types do not know is kept as JSON beside
them, on every level, so that it reaches the provider (CHAT-24)."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from headgate.inference.v1.inference_pb2 import (
    ROLE_ASSISTANT,
    ROLE_DEVELOPER,
    ROLE_FUNCTION,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    GenerationSpec,
    Message,
    ResponseFormat,
    Role,
    Tool,
    ToolCall,
)
from headgate_gateway.chat.parts import part_of
from headgate_gateway.model_ids import ModelId, check_model_id
from headgate_gateway.strict_json import Tree, encode, malformed, rest_of, typed

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Count = Annotated[int, Meta(ge=1, le=2**32 - 1)]
_Json = dict[str, object]

ROLES: Mapping[str, "Role.ValueType"] = {
    "system": ROLE_SYSTEM,
    "user": ROLE_USER,
    "assistant": ROLE_ASSISTANT,
    "tool": ROLE_TOOL,
    "developer": ROLE_DEVELOPER,
    "function": ROLE_FUNCTION,
}


class _Function(Struct):
    name: str = ""
    arguments: str = ""


class _ToolCall(Struct):
    id: str | None = None
    type: str = "function"
    function: _Function | None = None


class _Message(Struct):
    role: str
    content: str | Annotated[list[_Json], Meta(min_length=1)] | None = None
    name: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _ToolFunction(Struct):
    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: _Json | None = None
    strict: bool | None = None


class _Tool(Struct):
    type: str
    function: _ToolFunction | None = None


class _Format(Struct):
    type: str
    json_schema: _Json | None = None


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Body(Struct):
    model: ModelId
    messages: Annotated[list[_Message], Meta(min_length=1)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Json | None = None
    response_format: _Format | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_BODY = frozenset(_Body.__struct_fields__)
_MESSAGE = frozenset(_Message.__struct_fields__)
_TOOL = frozenset(_Tool.__struct_fields__)
_TOOL_FUNCTION = frozenset(_ToolFunction.__struct_fields__)
_FORMAT = frozenset(_Format.__struct_fields__)
_CALL = frozenset(_ToolCall.__struct_fields__)
_COUNTS = ("max_tokens", "max_completion_tokens", "n")
_SAMPLING = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "logprobs", "top_logprobs",
)  # fmt: skip


class ChatRequest:
    """A chat body. `stream` is None when the body does not say. Raises Malformed naming the field."""

    __slots__ = ("_body", "_tree", "include_usage", "stream")

    def __init__(self, tree: Tree) -> None:
        body = typed(tree, _Body)
        check_model_id(body.model)
        self._body = body
        self._tree = tree
        self.stream = body.stream
        self.include_usage = body.stream_options is not None and bool(body.stream_options.include_usage)

    def fill(self, spec: GenerationSpec) -> None:
        """Write all of it to an empty `spec`; in place, since a message given to another is copied. Raises Malformed
        naming the field."""
        body, tree = self._body, self._tree
        spec.model = body.model
        add = spec.messages.add
        for message, raw in zip(body.messages, _trees(tree, "messages"), strict=True):
            role, content = ROLES.get(message.role), message.content
            if type(content) is str and role is not None:
                made = add(role=role, text=content)
            else:
                made = add(role=role)
                _fill_parts(made, message, len(spec.messages) - 1)
            if len(raw) > 2:
                _rest_of_message(made, message, raw)
        if len(tree) > 2:
            self._fill_options(spec)

    def _fill_options(self, spec: GenerationSpec) -> None:
        body, tree = self._body, self._tree
        _set_sampling(spec, body)
        if body.tools:
            spec.tools.extend(
                _tool(tool, raw, index)
                for index, (tool, raw) in enumerate(zip(body.tools, _trees(tree, "tools"), strict=True))
            )
        if body.tool_choice is not None:
            spec.tool_choice_json = encode(body.tool_choice)
        if body.response_format is not None:
            spec.response_format.CopyFrom(_format(body.response_format, tree))
        extra = rest_of(tree, _BODY)
        if extra:
            spec.extra_json = extra


def _trees(tree: Tree, field: str) -> Sequence[Tree]:
    """The objects of a list that was found to be one."""
    value = tree[field]
    return value if isinstance(value, list) else []


def _set_sampling(spec: GenerationSpec, body: _Body) -> None:
    for name in _COUNTS:
        if (count := getattr(body, name)) is not None:
            setattr(spec, name, count)
    for name in _SAMPLING:
        if (value := getattr(body, name)) is not None:
            setattr(spec.sampling, name, value)
    if isinstance(body.stop, str):
        spec.sampling.stop.append(body.stop)
        spec.sampling.stop_is_string = True
    elif body.stop:
        spec.sampling.stop.extend(body.stop)


def _fill_parts(made: Message, message: _Message, index: int) -> None:
    """Content that is not one text."""
    at = f"messages[{index}]"
    if message.role not in ROLES:
        raise malformed(f"Field '{at}.role' must be one of {', '.join(ROLES)}.", f"{at}.role")
    at += ".content"
    if isinstance(message.content, list):
        made.parts.extend(part_of(part, f"{at}[{place}]") for place, part in enumerate(message.content))
    elif made.role != ROLE_ASSISTANT:
        raise malformed(f"Field '{at}' is missing.", at)


def _rest_of_message(made: Message, message: _Message, raw: Tree) -> None:
    if message.name:
        made.name = message.name
    if message.tool_call_id:
        made.tool_call_id = message.tool_call_id
    if message.tool_calls:
        made.tool_calls.extend(
            _tool_call(call, tree, index)
            for index, (call, tree) in enumerate(
                zip(message.tool_calls, _trees(raw, "tool_calls"), strict=True)
            )
        )
    extra = rest_of(raw, _MESSAGE)
    if extra:
        made.extra_json = extra


def _tool_call(call: _ToolCall, raw: Tree, index: int) -> ToolCall:
    function = call.function or _Function()
    return ToolCall(
        index=index,
        id=call.id or "",
        name=function.name,
        arguments=function.arguments,
        type=call.type,
        extra_json=rest_of(raw, _CALL),
    )


def _tool(tool: _Tool, raw: Tree, index: int) -> Tool:
    if tool.type != "function" or not raw.keys() <= _TOOL:
        return Tool(other_json=encode(raw))
    if tool.function is None:
        raise malformed(f"Field 'tools[{index}].function' is missing.", f"tools[{index}].function")
    function = raw["function"]
    made = Tool(
        name=tool.function.name, description=tool.function.description or "", strict=tool.function.strict
    )
    if tool.function.parameters is not None:
        made.parameters_json = encode(tool.function.parameters)
    if isinstance(function, dict):
        made.extra_json = rest_of(function, _TOOL_FUNCTION)
    return made


def _format(wanted: _Format, tree: Tree) -> ResponseFormat:
    raw = tree["response_format"]
    return ResponseFormat(
        type=wanted.type,
        json_schema=encode(wanted.json_schema) if wanted.json_schema is not None else b"",
        extra_json=rest_of(raw, _FORMAT) if isinstance(raw, dict) else b"",
    )

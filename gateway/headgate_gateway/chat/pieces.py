"""JSON pieces that whole and streamed replies share. Built as text: the fields a provider added are spliced in as
they came, and a token costs microseconds."""

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from headgate.inference.v1 import inference_pb2
from headgate.inference.v1.inference_pb2 import Role, ToolCall, Usage

to_json: Callable[[object], bytes] = msgspec.json.Encoder().encode

ROLE_NAMES: Mapping["Role.ValueType", str] = {
    inference_pb2.ROLE_SYSTEM: "system",
    inference_pb2.ROLE_USER: "user",
    inference_pb2.ROLE_ASSISTANT: "assistant",
    inference_pb2.ROLE_TOOL: "tool",
    inference_pb2.ROLE_DEVELOPER: "developer",
    inference_pb2.ROLE_FUNCTION: "function",
}


def role_name(role: "Role.ValueType") -> str:
    """The role's name; replies without one come from the model."""
    return ROLE_NAMES.get(role, "assistant")


def spliced(extra_json: bytes) -> bytes:
    """The members of a JSON object, with a comma before them; nothing for an empty one."""
    if not extra_json:
        return b""
    members = extra_json.strip()[1:-1].strip()
    return b"," + members if members else b""


def extended(made: Struct, extra_json: bytes) -> Struct | Raw:
    """What was made, to be encoded, with the members of a JSON object behind its own."""
    members = extra_json and spliced(extra_json)
    return Raw(to_json(made)[:-1] + members + b"}") if members else made


def tool_calls_json(calls: Iterable[ToolCall], *, indexed: bool) -> bytes:
    """`tool_calls` as a JSON list. In stream deltas each has its index, and what a later piece lacks is left out."""
    return b"[" + b",".join(_tool_call(call, indexed) for call in calls) + b"]"


def _tool_call(call: ToolCall, indexed: bool) -> bytes:
    members = [b'"index":%d' % call.index] if indexed else []
    if call.id:
        members.append(b'"id":' + to_json(call.id))
    if call.type:
        members.append(b'"type":' + to_json(call.type))
    if call.type in ("", "function"):
        members.append(b'"function":{' + _function(call, indexed) + b"}")
    return b"{" + b",".join(members) + spliced(call.extra_json) + b"}"


def _function(call: ToolCall, indexed: bool) -> bytes:
    arguments = b'"arguments":' + to_json(call.arguments)
    if indexed and not call.name:
        return arguments
    return b'"name":' + to_json(call.name) + b"," + arguments


class _Cached(Struct):
    cached_tokens: int


class _Reasoning(Struct):
    reasoning_tokens: int


class _Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _Cached | UnsetType = UNSET
    completion_tokens_details: _Reasoning | UnsetType = UNSET


def usage_of(usage: Usage) -> Struct | Raw:
    """`usage` with OpenAI's names; details only where there are any."""
    read, written = usage.input_tokens, usage.output_tokens
    made = _Usage(read, written, read + written)
    if usage.cached_input_tokens and b'"prompt_tokens_details"' not in usage.extra_json:
        made.prompt_tokens_details = _Cached(usage.cached_input_tokens)
    if usage.reasoning_tokens and b'"completion_tokens_details"' not in usage.extra_json:
        made.completion_tokens_details = _Reasoning(usage.reasoning_tokens)
    return extended(made, usage.extra_json)

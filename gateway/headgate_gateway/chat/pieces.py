"""JSON pieces that whole and streamed replies share. Built as text: the fields a provider added are spliced in as
they came, and a token costs microseconds."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from headgate.inference.v1 import inference_pb2
from headgate.inference.v1.inference_pb2 import Role, ToolCall, Usage

to_json: Callable[[object], bytes] = msgspec.json.Encoder().encode

ROLE_NAMES: Mapping["Role.ValueType", bytes] = {
    inference_pb2.ROLE_SYSTEM: b'"system"',
    inference_pb2.ROLE_USER: b'"user"',
    inference_pb2.ROLE_ASSISTANT: b'"assistant"',
    inference_pb2.ROLE_TOOL: b'"tool"',
    inference_pb2.ROLE_DEVELOPER: b'"developer"',
    inference_pb2.ROLE_FUNCTION: b'"function"',
}


def role_name(role: "Role.ValueType") -> bytes:
    """The role as a JSON string; replies without one come from the model."""
    return ROLE_NAMES.get(role, b'"assistant"')


def spliced(extra_json: bytes) -> bytes:
    """The members of a JSON object, with a comma before them; nothing for an empty one."""
    if not extra_json:
        return b""
    members = extra_json.strip()[1:-1].strip()
    return b"," + members if members else b""


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


def usage_json(usage: Usage) -> bytes:
    """`usage` with OpenAI's names; details only where there are any."""
    read, written = usage.input_tokens, usage.output_tokens
    details = b""
    if usage.cached_input_tokens and b'"prompt_tokens_details"' not in usage.extra_json:
        details += b',"prompt_tokens_details":{"cached_tokens":%d}' % usage.cached_input_tokens
    if usage.reasoning_tokens and b'"completion_tokens_details"' not in usage.extra_json:
        details += b',"completion_tokens_details":{"reasoning_tokens":%d}' % usage.reasoning_tokens
    return b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d%b%b}' % (
        read, written, read + written, details, spliced(usage.extra_json),
    )  # fmt: skip

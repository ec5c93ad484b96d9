"""The chat reply that most calls get, text without tool calls, decoded in one pass: only with members that OpenAI and
vLLM send, each of the type they give it. What differs in anything is for `openai_reply`, which takes it member by
member and is the measure: a test holds the two against each other. It takes 1.9 µs where that takes 4.4. Extra
members come in the order they have here."""

import msgspec
from msgspec import Raw, Struct

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.openai_request import ROLE_OF
from headgate_inference.extras import pack

_ABSENT = Raw()


class _Message(Struct, forbid_unknown_fields=True, gc=False):
    content: str | None
    role: str | None = None
    refusal: Raw = _ABSENT
    annotations: Raw = _ABSENT
    reasoning_content: Raw = _ABSENT


class _Choice(Struct, forbid_unknown_fields=True, gc=False):
    message: _Message
    index: int
    finish_reason: str
    logprobs: Raw = _ABSENT
    stop_reason: Raw = _ABSENT


class _Usage(Struct, forbid_unknown_fields=True, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: Raw = _ABSENT
    prompt_tokens_details: Raw = _ABSENT
    completion_tokens_details: Raw = _ABSENT


class _Reply(Struct, forbid_unknown_fields=True, gc=False):
    choices: list[_Choice]
    id: str
    created: int
    usage: _Usage
    object: Raw = _ABSENT
    model: Raw = _ABSENT
    service_tier: Raw = _ABSENT
    system_fingerprint: Raw = _ABSENT


class _Details(Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


_reply = msgspec.json.Decoder(_Reply).decode
_details = msgspec.json.Decoder(_Details | None).decode


def plain_reply(data: bytes) -> pb.GenerateResponse:
    """A `chat.completion`. Raises ValueError or RecursionError when it is no plain one."""
    fields = _reply(data)
    if not fields.choices:
        raise ValueError("a reply without choices")
    reply = pb.GenerateResponse()
    reply.id = fields.id
    reply.created = fields.created
    for each in fields.choices:
        _fill_choice(reply.choices.add(), each)
    _fill_usage(reply.usage, fields.usage)
    if fields.service_tier or fields.system_fingerprint:
        reply.extra_json = _rest(
            service_tier=fields.service_tier, system_fingerprint=fields.system_fingerprint
        )
    return reply


def _fill_choice(choice: pb.Choice, fields: _Choice) -> None:
    choice.index = fields.index
    choice.finish_reason = fields.finish_reason
    given = fields.message
    message = choice.message
    message.role = ROLE_OF.get(given.role or "", pb.ROLE_ASSISTANT)
    if given.content is not None:
        message.text = given.content
    if given.refusal or given.annotations or given.reasoning_content:
        message.extra_json = _rest(
            refusal=given.refusal,
            annotations=given.annotations,
            reasoning_content=given.reasoning_content,
        )
    if fields.logprobs or fields.stop_reason:
        choice.extra_json = _rest(logprobs=fields.logprobs, stop_reason=fields.stop_reason)


def _fill_usage(usage: pb.Usage, fields: _Usage) -> None:
    usage.input_tokens = fields.prompt_tokens
    usage.output_tokens = fields.completion_tokens
    read, written = fields.prompt_tokens_details, fields.completion_tokens_details
    if read and (details := _details(read)):
        usage.cached_input_tokens = details.cached_tokens or 0
    if written and (details := _details(written)):
        usage.reasoning_tokens = details.reasoning_tokens or 0
    if read or written:
        usage.extra_json = _rest(prompt_tokens_details=read, completion_tokens_details=written)


def _rest(**members: Raw) -> bytes:
    return pack({name: value for name, value in members.items() if value})

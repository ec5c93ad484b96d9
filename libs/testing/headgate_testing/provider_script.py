"""What the scripted provider does with one request, and the OpenAI-style bodies it answers with."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

Json = Mapping[str, object]

CREATED = 1_700_000_000
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One request's fate; the default is a well-formed answer of `tokens`, whole or streamed as asked.

    `usage` replaces the true usage; None leaves it out. `body` is sent as it is instead of an answer. Faults:
    `drop` closes the connection and `hang` keeps it, both without an answer; `hang_after` and `cut_after` count
    content pieces of a stream (0: after the headers; in a whole reply `cut_after` counts bytes of the body). With
    `resume` a hang ends when that event is set. `pause` is seconds between pieces; `split` writes the body in
    pieces of so many bytes. The `*_fields` are merged into the object they name (`message_fields` also into each
    content delta), as a provider's own extensions would be.
    """

    tokens: Sequence[str] = ("Hello", " from", " the", " provider", ".")
    finish_reason: str = "stop"
    usage: Json | Literal["true"] | None = "true"
    tool_calls: Sequence[Json] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = ""
    echo: bool = False
    drop: bool = False
    hang: bool = False
    hang_after: int | None = None
    resume: asyncio.Event | None = None
    cut_after: int | None = None
    cut: Literal["fin", "reset"] = "fin"
    pause: float = 0.0
    split: int = 0
    done: bool = True
    id: str = "chatcmpl-scripted"
    reply_fields: Json = field(default_factory=dict)
    choice_fields: Json = field(default_factory=dict)
    message_fields: Json = field(default_factory=dict)


def error(
    status: int, message: str = "scripted", code: str | None = None, param: str | None = None
) -> Script:
    """An answer with an OpenAI-style error body."""
    body = {"error": {"message": message, "type": "scripted_error", "param": param, "code": code}}
    return Script(status=status, body=_dump(body), content_type="application/json")


def whole_reply(script: Script, request: Json) -> bytes:
    """The body of a `chat.completion`."""
    if script.echo:
        tokens: Sequence[str] = (json.dumps(request, ensure_ascii=False, sort_keys=True),)
    else:
        tokens = script.tokens
    choices = [_whole_choice(script, request, index, tokens) for index in range(_wanted(request))]
    reply = {**_envelope(script, request, "chat.completion"), "choices": choices}
    if (usage := _usage(script, request, len(tokens))) is not None:
        reply["usage"] = usage
    return _dump({**reply, **script.reply_fields})


def _whole_choice(script: Script, request: Json, index: int, tokens: Sequence[str]) -> Json:
    message: dict[str, object] = {"role": "assistant", "content": "".join(tokens), **script.message_fields}
    if script.tool_calls:
        message |= {"content": None, "tool_calls": list(script.tool_calls)}
    choice = {
        "index": index,
        "message": message,
        "finish_reason": script.finish_reason,
        **script.choice_fields,
    }
    if request.get("logprobs"):
        choice["logprobs"] = {"content": [_logprob(token) for token in tokens]}
    return choice


def stream_pieces(script: Script, request: Json) -> Iterator[tuple[bytes, int]]:
    """The events of a stream, each with the content pieces it holds (0 or 1): opening deltas, content, tool
    calls in two halves, finish, usage when asked for, `[DONE]`."""
    choices = range(_wanted(request))
    tokens = () if script.tool_calls else script.tokens
    for index in choices:
        yield _chunk(script, request, index, {"role": "assistant", "content": ""}), 0
    for token in tokens:
        for index in choices:
            yield _chunk(script, request, index, {"content": token}, token=token), 1
    for place, call in enumerate(script.tool_calls):
        for delta in _tool_deltas(place, call):
            yield _chunk(script, request, 0, {"tool_calls": [delta]}), 1
    for index in choices:
        yield _chunk(script, request, index, {}, finish=script.finish_reason), 0
    options = request.get("stream_options")
    usage = _usage(script, request, len(tokens))
    if usage is not None and isinstance(options, Mapping) and options.get("include_usage"):
        yield (
            _event({**_envelope(script, request, "chat.completion.chunk"), "choices": [], "usage": usage}),
            0,
        )
    if script.done:
        yield DONE, 0


def _tool_deltas(place: int, call: Json) -> Iterator[Json]:
    function = cast(Json, call["function"])
    arguments = str(function["arguments"])
    half = len(arguments) // 2
    yield {**call, "index": place, "function": {**function, "arguments": arguments[:half]}}
    yield {"index": place, "function": {"arguments": arguments[half:]}}


def _chunk(
    script: Script,
    request: Json,
    index: int,
    delta: Json,
    *,
    finish: str | None = None,
    token: str | None = None,
) -> bytes:
    extensions = script.message_fields if token is not None else {}
    choice: dict[str, object] = {"index": index, "delta": {**delta, **extensions}}
    choice |= {"finish_reason": finish, **script.choice_fields}
    if token is not None and request.get("logprobs"):
        choice["logprobs"] = {"content": [_logprob(token)]}
    envelope = _envelope(script, request, "chat.completion.chunk")
    return _event({**envelope, "choices": [choice], **script.reply_fields})


def embeddings_reply(script: Script, request: Json) -> bytes:
    """The body of an embeddings list: vectors of 4 numbers, the first being the input's place."""
    inputs = request.get("input")
    count = len(inputs) if isinstance(inputs, list) and not (inputs and isinstance(inputs[0], int)) else 1
    data = [
        {"object": "embedding", "index": index, "embedding": [index, 0.25, -0.5, 1.0]}
        for index in range(count)
    ]
    reply: dict[str, object] = {"object": "list", "data": data, "model": request.get("model")}
    if script.usage == "true":
        reply["usage"] = {"prompt_tokens": 3 * count, "total_tokens": 3 * count}
    elif script.usage is not None:
        reply["usage"] = script.usage
    return _dump({**reply, **script.reply_fields})


def _envelope(script: Script, request: Json, kind: str) -> dict[str, object]:
    return {"id": script.id, "object": kind, "created": CREATED, "model": request.get("model")}


def _usage(script: Script, request: Json, output: int) -> Json | None:
    if script.usage != "true":
        return script.usage
    prompt = prompt_tokens(request)
    total = output * _wanted(request)
    return {"prompt_tokens": prompt, "completion_tokens": total, "total_tokens": prompt + total}


def prompt_tokens(request: Json) -> int:
    """What the provider says it read: one token for each word of the messages' text."""
    messages = cast(Sequence[Json], request.get("messages") or ())
    return sum(len(str(message.get("content") or "").split()) for message in messages)


def _logprob(token: str) -> Json:
    return {"token": token, "logprob": -0.25, "bytes": list(token.encode()), "top_logprobs": []}


def _wanted(request: Json) -> int:
    n = request.get("n")
    return n if isinstance(n, int) else 1


def _event(chunk: Json) -> bytes:
    return b"data: " + _dump(chunk) + b"\n\n"


def _dump(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

"""`headgate chat`: a conversation in the terminal, streamed."""

import asyncio
import sys
from pathlib import Path

from headgate.inference.v1.inference_pb2 import (
    GenerationSpec,
    Message,
    Role,
    StreamGenerateRequest,
)
from headgate_clients.inference import InferenceClient
from headgate_rpc.errors import HeadgateError, Reason
from headgate_suite.client import client_settings, connected, options
from headgate_suite.client_settings import ClientSettings


async def converse(model: str, system: str | None, file: Path | None) -> None:
    """Read lines, stream answers, until an empty line or the end of input."""
    settings = client_settings()
    messages = [Message(role=Role.ROLE_SYSTEM, text=text) for text in _opening(system, file)]
    async with connected(settings.inference) as channel:
        client = InferenceClient(channel)
        while line := await asyncio.to_thread(_ask):
            messages.append(Message(role=Role.ROLE_USER, text=line))
            spec = GenerationSpec(model=model, messages=messages)
            try:
                answer = await _print_answer(client, spec, settings)
            except HeadgateError as error:
                if error.reason in {Reason.UNAUTHORIZED, Reason.SERVICE_UNAVAILABLE}:
                    raise
                print(f"({error.message})", file=sys.stderr)
                messages.pop()
                continue
            messages.append(Message(role=Role.ROLE_ASSISTANT, text=answer))


def _opening(system: str | None, file: Path | None) -> list[str]:
    return [text for text in (system, file.read_text() if file else None) if text]


def _ask() -> str:
    try:
        return input("you> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


async def _print_answer(client: InferenceClient, spec: GenerationSpec, settings: ClientSettings) -> str:
    stream = await client.stream_generate(StreamGenerateRequest(spec=spec), options(settings))
    pieces = []
    try:
        async for reply in stream:
            for event in reply.events:
                for choice in event.choices:
                    pieces.append(choice.text)
                    print(choice.text, end="", flush=True)
    finally:
        print()
        await stream.aclose()
    return "".join(pieces)

"""Clients for load under faults: make calls, count what arrives, never raise."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from headgate_testing.bill import Received

MESSAGES = [{"role": "user", "content": "Say something."}]


@dataclass(slots=True)
class LoadClient:
    """Calls the chat endpoint at `url` (may change between calls, as a restarted suite's does)."""

    url: str
    key: str

    async def whole(self, http: httpx2.AsyncClient, model: str) -> Received:
        """One whole reply; its pieces are the provider's words, counted by usage."""
        request_id = _request_id()
        answered, completed, pieces = False, False, 0
        try:
            reply = await http.post(
                f"{self.url}/v1/chat/completions",
                json={"model": model, "messages": MESSAGES},
                headers=self._headers(request_id),
            )
            answered = True
            if reply.status_code == 200:
                pieces = reply.json()["usage"]["completion_tokens"]
                completed = True
        except httpx2.HTTPError:
            pass
        return Received(request_id, answered, completed, pieces)

    async def streamed(
        self, http: httpx2.AsyncClient, model: str, leave_after: int | None = None
    ) -> Received:
        """One stream; the client leaves after so many pieces if told to."""
        request_id = _request_id()
        answered, completed, pieces = False, False, 0
        try:
            async with http.stream(
                "POST",
                f"{self.url}/v1/chat/completions",
                json={"model": model, "messages": MESSAGES, "stream": True},
                headers=self._headers(request_id),
            ) as reply:
                answered = True
                async for line in reply.aiter_lines():
                    if line == "data: [DONE]":
                        completed = True
                    elif line.startswith("data: "):
                        pieces += pieces_of(json.loads(line[6:]))
                    if leave_after is not None and pieces >= leave_after:
                        break
        except httpx2.HTTPError:
            pass
        return Received(request_id, answered, completed, pieces)

    def _headers(self, request_id: str) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.key}", "x-request-id": request_id}


def _request_id() -> str:
    return uuid.uuid4().hex


def pieces_of(chunk: Mapping[str, list[Mapping[str, Mapping[str, object]]]]) -> int:
    """How many pieces of content an event of a stream holds."""
    return sum(1 for choice in chunk.get("choices", ()) if choice["delta"].get("content"))

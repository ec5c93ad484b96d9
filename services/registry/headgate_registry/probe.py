"""The probe that discovery uses outside of tests: one GET /v1/models on loopback."""

import json

import aiohttp

_TIMEOUT_S = 0.2
_MOST_BYTES = 1024 * 1024


async def probe(port: int) -> list[str] | None:
    """Model ids of the server at `port`, or None when nothing, or nothing of that kind, answers in 200 ms.

    Another Headgate on this machine is left alone: two that discover each other would be a loop.
    """
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    url = f"http://127.0.0.1:{port}/v1/models"
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200 or response.headers.get("Server", "").lower().startswith("headgate"):
                return None
            return _ids(await _body(response))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ValueError("longer than any list of models")
    return bytes(body)


def _ids(body: bytes) -> list[str] | None:
    try:
        reply: object = json.loads(body)
    except RecursionError:
        return None
    data = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(data, list):
        return None
    return [each["id"] for each in data if isinstance(each, dict) and isinstance(each.get("id"), str)]

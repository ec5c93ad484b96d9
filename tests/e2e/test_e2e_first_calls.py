"""What a newcomer tries first, over plain HTTP."""

import asyncio
import json

import httpx2
import pytest

from headgate_testing.provider import Script, ScriptedProvider
from headgate_testing.suite import AnySuite, Suite

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}


def http(suite: AnySuite, key: str | None = None) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=suite.url, headers={"authorization": f"Bearer {key or suite.key}"})


@pytest.mark.parametrize("suite", ["one"], indirect=True)
async def test_the_banner_holds_a_curl_that_answers(suite: Suite) -> None:
    start = suite.banner.index("curl")
    command = suite.banner[start:].split("\n\n")[0]
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=suite.folder
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err
    assert json.loads(out)["choices"][0]["message"]["content"]


async def test_chat_stream_always_streams(suite: AnySuite) -> None:
    async with http(suite) as client:
        reply = await client.post("/v1/chat/stream", json=BODY)
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.text.endswith("data: [DONE]\n\n")
        refused = await client.post("/v1/chat/stream", json={**BODY, "stream": False})
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "stream"


async def test_a_provider_cut_mid_stream_ends_with_an_error_event(
    suite: AnySuite, provider: ScriptedProvider
) -> None:
    provider.next(Script(cut_after=2))
    async with http(suite) as client:
        reply = await client.post("/v1/chat/completions", json={**BODY, "stream": True})
    assert reply.status_code == 200 and "[DONE]" not in reply.text
    last = reply.text.rstrip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "upstream_error"


async def test_every_reply_says_how_long_it_took(suite: AnySuite, provider: ScriptedProvider) -> None:
    provider.on("slow", Script(hang=True))
    async with http(suite) as client:
        began = asyncio.get_running_loop().time()
        late = await client.post("/v1/chat/completions", json={**BODY, "model": "slow"}, timeout=20)
        took = (asyncio.get_running_loop().time() - began) * 1000
        # The model's provider is given one second for the first token.
        assert 1000 <= int(late.headers["x-response-time-ms"]) <= took
        for request in (
            client.post("/v1/chat/completions", json=BODY),
            client.post("/v1/chat/stream", json=BODY),
            client.post("/v1/embeddings", json={"model": "text-embedding-ada-002", "input": "a"}),
            client.get("/v1/models"),
            client.get("/v1/nope"),
            client.get("/healthz"),
        ):
            assert (await request).headers["x-response-time-ms"].isdecimal()


async def test_a_hanging_provider_is_a_timeout(suite: AnySuite, provider: ScriptedProvider) -> None:
    provider.on("slow", Script(hang=True))
    async with http(suite) as client:
        reply = await client.post("/v1/chat/completions", json={**BODY, "model": "slow"}, timeout=20)
    assert reply.status_code == 504 and reply.json()["error"]["code"] == "upstream_timeout"


async def test_leaving_a_stream_reaches_the_provider_within_100_ms(
    suite: AnySuite, provider: ScriptedProvider
) -> None:
    provider.next(Script(tokens=["tick"] * 50, hang_after=3))
    place = len(provider.requests)
    async with (
        http(suite) as client,
        client.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as reply,
    ):
        async for line in reply.aiter_lines():
            if "tick" in line:
                break
        left = asyncio.get_running_loop().time()
    request = provider.requests[place]
    await asyncio.wait_for(request.gone.wait(), 2)
    print(f"provider saw it {(request.gone_at - left) * 1000:.1f} ms after the client left (goal 100)")


async def test_leaving_a_whole_call_reaches_the_provider(suite: AnySuite, provider: ScriptedProvider) -> None:
    provider.next(Script(hang=True))
    place = len(provider.requests)
    async with http(suite) as client:
        call = asyncio.create_task(client.post("/v1/chat/completions", json=BODY))
        request = await provider.request(place)
        call.cancel()
        await asyncio.wait([call])
    await asyncio.wait_for(request.gone.wait(), 2)


async def test_keys_are_made_used_listed_and_ended(suite: AnySuite) -> None:
    async with http(suite) as client:
        made = (await client.post("/v1/keys", json={"name": "ci", "scopes": ["inference"]})).json()
        assert made["key"].startswith(made["prefix"] + "_") and made["object"] == "api_key"
        listed = (await client.get("/v1/keys")).json()["data"]
        assert "key" not in listed[0] and made["id"] in [key["id"] for key in listed]
        async with http(suite, made["key"]) as other:
            assert (await other.post("/v1/chat/completions", json=BODY)).status_code == 200
            assert (await client.delete(f"/v1/keys/{made['id']}")).json() == {
                "id": made["id"],
                "object": "api_key",
                "deleted": True,
            }
            refused = (await other.post("/v1/chat/completions", json=BODY)).status_code
            if not isinstance(
                suite, Suite
            ):  # another process hears of it a moment later, within a second (R22)
                async with asyncio.timeout(1):
                    while refused != 401:
                        refused = (await other.post("/v1/chat/completions", json=BODY)).status_code
            assert refused == 401
        assert (await client.delete("/v1/keys/key_unknown")).status_code == 404


async def test_a_revoked_key_loses_its_open_streams(suite: AnySuite, provider: ScriptedProvider) -> None:
    provider.next(Script(tokens=["tick"] * 50, hang_after=3))
    async with http(suite) as client:
        made = (await client.post("/v1/keys", json={"name": "ci", "scopes": ["inference"]})).json()
        place = len(provider.requests)
        async with http(suite, made["key"]) as other:
            stream = asyncio.create_task(other.post("/v1/chat/completions", json={**BODY, "stream": True}))
            request = await provider.request(place)
            await client.delete(f"/v1/keys/{made['id']}")
            reply = await asyncio.wait_for(stream, 5)
        assert "[DONE]" not in reply.text
        await asyncio.wait_for(request.gone.wait(), 2)


async def test_usage_shows_a_finished_call_within_two_seconds(suite: AnySuite) -> None:
    async with http(suite) as client:

        async def usage() -> dict[str, float]:
            models = (await client.get("/v1/usage")).json()["usage"]["models"]
            return dict(models.get("claude-3", {"requests": 0, "tokens": 0, "cost": 0.0}))

        before = await usage()
        await client.post("/v1/chat/completions", json={**BODY, "model": "claude-3"})
        async with asyncio.timeout(2):
            while (after := await usage())["requests"] == before["requests"]:
                await asyncio.sleep(0.02)
    # 1 token in at 30 USD a million, 5 out at 60.
    assert after["tokens"] - before["tokens"] == 6
    assert after["cost"] - before["cost"] == pytest.approx(0.00033)


async def test_unknown_paths_and_methods(suite: AnySuite) -> None:
    async with http(suite) as client:
        lost = await client.get("/v1/nothing")
        assert lost.status_code == 404 and lost.json()["error"]["code"] == "not_found"
        wrong = await client.get("/v1/chat/completions")
        assert wrong.status_code == 405 and wrong.headers["allow"] == "POST"
        media = await client.post(
            "/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"}
        )
        assert media.status_code == 415


async def test_health_and_readiness_need_no_key(suite: AnySuite) -> None:
    async with httpx2.AsyncClient(base_url=suite.url) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_a_changed_config_is_taken_and_a_bad_one_is_not(suite: AnySuite) -> None:
    file = suite.folder / "headgate.yaml"
    text = file.read_text()
    async with http(suite) as client:

        async def models() -> set[str]:
            return {model["id"] for model in (await client.get("/v1/models")).json()["data"]}

        async def known() -> set[bool]:
            """Whether the new name is known; both, while replicas differ."""
            looks = [await models() for _ in range(4)]
            calls = [
                await client.post("/v1/chat/completions", json={**BODY, "model": "brand-new"})
                for _ in range(4)
            ]
            return {"brand-new" in found for found in looks} | {call.status_code == 200 for call in calls}

        file.write_text(text.replace("aliases: {", "aliases: {brand-new: gpt-4, "))
        async with asyncio.timeout(5):
            while await known() != {True}:
                await asyncio.sleep(0.05)
        file.write_text("modelz: 3\n")
        async with asyncio.timeout(5):
            while "modelz" not in suite.logs():
                await asyncio.sleep(0.05)
        assert await known() == {True}
        file.write_text(text)
        async with asyncio.timeout(5):
            while await known() != {False}:
                await asyncio.sleep(0.05)

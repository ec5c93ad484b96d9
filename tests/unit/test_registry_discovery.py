"""Model servers on this machine are found, kept through a hiccup, and never mistaken for ourselves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from headgate_registry.discovery import PORTS, Discovery
from headgate_registry.probe import probe

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Machine:
    """Loopback as a script: what answers at each port."""

    def __init__(self, **ports: list[str]) -> None:
        self.models: dict[int, list[str] | None] = {int(port[1:]): ids for port, ids in ports.items()}
        self.asked: list[int] = []

    async def probe(self, port: int) -> list[str] | None:
        self.asked.append(port)
        return self.models.get(port)


def ids(discovery: Discovery) -> set[str]:
    return {model.id for model in discovery.entries().models}


async def test_models_of_all_servers_are_found() -> None:
    machine = Machine(p11434=["llama3:8b", "nomic-embed-text"], p8000=["qwen"])
    discovery = Discovery(machine.probe)
    assert await discovery.scan()
    entries = discovery.entries()
    assert sorted(machine.asked) == sorted(PORTS)
    assert [(each.name, each.base_url) for each in entries.providers] == [
        ("discovered-11434", "http://127.0.0.1:11434/v1"),
        ("discovered-8000", "http://127.0.0.1:8000/v1"),
    ]
    assert {model.id: model.type for model in entries.models} == {
        "llama3:8b": "text",
        "nomic-embed-text": "embedding",
        "qwen": "text",
    }


async def test_a_scan_that_finds_the_same_says_so() -> None:
    discovery = Discovery(Machine(p8000=["a"]).probe)
    assert await discovery.scan()
    assert not await discovery.scan()


async def test_a_model_stays_for_two_missed_scans_and_goes_with_the_third() -> None:
    machine = Machine(p8000=["a", "b"])
    discovery = Discovery(machine.probe)
    await discovery.scan()
    machine.models[8000] = ["b"]
    await discovery.scan()
    await discovery.scan()
    assert ids(discovery) == {"a", "b"}
    assert await discovery.scan()
    assert ids(discovery) == {"b"}
    machine.models[8000] = None
    for _ in range(3):
        await discovery.scan()
    assert discovery.entries().providers == ()


async def test_a_model_that_comes_back_is_missed_anew() -> None:
    machine = Machine(p8000=["a"])
    discovery = Discovery(machine.probe)
    await discovery.scan()
    for _ in range(3):
        machine.models[8000] = None
        await discovery.scan()
        await discovery.scan()
        machine.models[8000] = ["a"]
        await discovery.scan()
    assert ids(discovery) == {"a"}


async def test_our_own_listeners_are_not_asked() -> None:
    machine = Machine()
    await Discovery(machine.probe, own_ports={8080}).scan()
    assert 8080 not in machine.asked


async def test_a_model_of_two_servers_is_the_first_ones() -> None:
    discovery = Discovery(Machine(p1234=["a"], p8080=["a"]).probe)
    await discovery.scan()
    assert discovery.entries().models[0].deployments[0].provider == "discovered-8080"


async def test_ids_that_no_client_could_name_are_left_out() -> None:
    discovery = Discovery(Machine(p8000=["a b", "x@1", "", "y" * 300, "ok"]).probe)
    await discovery.scan()
    assert ids(discovery) == {"ok"}


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/v1/models", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def model_list(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "a"}, {"id": 7}, "x", {"id": "b"}]})


async def test_the_probe_reads_the_list_of_an_openai_style_server() -> None:
    async with server(model_list) as port:
        assert await probe(port) == ["a", "b"]


async def another_headgate(request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "a"}]}, headers={"Server": "headgate"})


async def needs_a_key(request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "a"}]}, status=401)


async def sends_elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound("http://169.254.169.254/")


async def no_json(request: web.Request) -> web.Response:
    return web.Response(text="<html>")


async def deep_json(request: web.Request) -> web.Response:
    return web.Response(text="[" * 200_000)


async def other_json(request: web.Request) -> web.Response:
    return web.json_response(["a"])


async def endless(request: web.Request) -> web.Response:
    return web.Response(body=b" " * (2 * 1024 * 1024))


async def silent(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    "answer",
    [
        another_headgate,
        needs_a_key,
        sends_elsewhere,
        no_json,
        deep_json,
        other_json,
        endless,
        silent,
    ],
)
async def test_the_probe_takes_anything_else_for_no_model_server(answer: Answer) -> None:
    async with server(answer) as port:
        assert await probe(port) is None


async def test_the_probe_finds_nothing_where_nobody_listens() -> None:
    async with server(model_list) as port:
        pass
    assert await probe(port) is None

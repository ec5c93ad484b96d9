"""The listener over real sockets: who leaves is noticed at once, who stalls is cut, who was accepted is served."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import uvloop
from structlog.testing import capture_logs

from headgate.inference.v1.inference_pb2 import GenerateResponse
from headgate_gateway.app import Clients, build, build_server
from headgate_gateway.server import GatewayServer
from headgate_gateway.settings import GatewaySettings
from headgate_rpc.errors import HeadgateError, Reason
from headgate_settings import HostPort, Seconds
from headgate_telemetry.record import EdgeRecord
from headgate_testing.fake_inference import FakeChannel, text_delta, text_stream
from headgate_testing.raw_http import RawConnection, http_request

BODY = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]}).encode()
CHAT = http_request("POST", "/v1/chat/completions", BODY)
STREAM = http_request("POST", "/v1/chat/stream", BODY)
PROBE = http_request("GET", "/healthz")
SETTINGS = GatewaySettings(http=HostPort("127.0.0.1", 0))


# The hook that replaces this fixture can only stand in a conftest.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy")


@dataclass
class Front:
    """A listening gateway, its scripted services and its records."""

    server: GatewayServer
    port: int
    channel: FakeChannel
    records: "asyncio.Queue[EdgeRecord]"

    async def connect(self) -> RawConnection:
        return await RawConnection.open(self.port)


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    policy: asyncio.AbstractEventLoopPolicy = uvloop.EventLoopPolicy()
    return policy


async def listen(settings: GatewaySettings) -> Front:
    channel, records = FakeChannel(), asyncio.Queue[EdgeRecord]()
    server = build_server(settings, build(settings, Clients.over(channel), records.put_nowait, lambda: []))
    return Front(server, await server.start(), channel, records)


@pytest.fixture
async def front(request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    made = await listen(replace(SETTINGS, **getattr(request, "param", {})))
    yield made
    await made.server.stop(0)


def settings(**changes: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("front", [changes], indirect=True, ids=[""])


async def forever(_: object) -> GenerateResponse:
    await asyncio.Event().wait()
    return GenerateResponse()


class TestDisconnect:
    async def test_a_whole_call_is_cancelled_when_its_client_goes(self, front: Front) -> None:
        front.channel.answers["Generate"] = forever
        connection = await front.connect()
        await connection.send(CHAT)
        await front.channel.entered["Generate"].wait()
        connection.hang_up()
        async with asyncio.timeout(1):
            await front.channel.last.cancelled.wait()
            record = await front.records.get()
        assert (record.http_status, record.reason) == (499, "CANCELLED")

    @pytest.mark.parametrize("polite", [True, False], ids=["close", "reset"])
    async def test_a_stream_is_closed_when_its_client_goes(self, front: Front, polite: bool) -> None:
        front.channel.streams["StreamGenerate"] = [text_delta("Once"), asyncio.Event().wait()]
        connection = await front.connect()
        await connection.send(STREAM)
        await connection.head()
        await connection.chunk()
        if polite:
            await connection.close()
        else:
            connection.hang_up()
        async with asyncio.timeout(1):
            await front.channel.last.cancelled.wait()
            record = await front.records.get()
        assert record.reason == "CANCELLED"

    async def test_a_request_behind_another_is_dropped_with_its_client(self, front: Front) -> None:
        front.channel.answers["Generate"] = forever
        connection = await front.connect()
        await connection.send(CHAT + PROBE)
        await front.channel.entered["Generate"].wait()
        connection.hang_up()
        async with asyncio.timeout(1):
            await front.channel.last.cancelled.wait()
            await front.records.get()
        assert front.records.empty()

    async def test_a_client_that_goes_within_its_body_is_noticed(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(CHAT[:-10])
        await asyncio.sleep(0)
        await connection.close()
        record = await asyncio.wait_for(front.records.get(), 1)
        assert record.reason == "CANCELLED"
        assert front.channel.asked == []

    async def test_a_request_that_breaks_off_before_it_is_looked_at_leaves_a_record(
        self, front: Front
    ) -> None:
        connection = await front.connect()
        fields = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        await connection.send(http_request("POST", "/v1/chat/completions", headers=fields) + b"no size\r\n")
        assert (await connection.reply()).status == 400
        records = [await asyncio.wait_for(front.records.get(), 1) for _ in range(2)]
        assert {record.reason for record in records} == {"INVALID_REQUEST", "CANCELLED"}


class TestStreams:
    async def test_headers_and_limits_are_there_before_the_first_event(self, front: Front) -> None:
        go_on = asyncio.Event()
        front.channel.streams["StreamGenerate"] = [go_on.wait(), *text_stream("a")]
        connection = await front.connect()
        await connection.send(STREAM)
        status, headers = await connection.head()
        assert (status, headers["content-type"], headers["x-ratelimit-limit"]) == (
            200,
            "text/event-stream",
            "100",
        )
        assert headers["cache-control"] == "no-cache, no-store, private"
        assert headers["x-accel-buffering"] == "no"
        go_on.set()
        assert [chunk async for chunk in connection][-1] == b"data: [DONE]\n\n"

    @settings(stream_keep_alive=Seconds(0.01))
    async def test_a_silent_stream_says_that_it_lives(self, front: Front) -> None:
        go_on = asyncio.Event()
        front.channel.streams["StreamGenerate"] = [go_on.wait(), *text_stream("a")]
        connection = await front.connect()
        await connection.send(STREAM)
        await connection.head()
        assert await connection.chunk() == b": keep-alive\n\n"
        go_on.set()
        assert [chunk async for chunk in connection][-1] == b"data: [DONE]\n\n"

    async def test_a_failure_before_the_first_byte_has_its_own_status(self, front: Front) -> None:
        front.channel.answers["StreamGenerate"] = HeadgateError(Reason.MODEL_NOT_FOUND, "No.")
        connection = await front.connect()
        await connection.send(STREAM)
        assert (await connection.reply()).status == 404

    async def test_a_failure_within_the_stream_is_one_event_and_no_done(self, front: Front) -> None:
        error = HeadgateError(Reason.UPSTREAM_ERROR, "The provider ended the stream early.")
        front.channel.streams["StreamGenerate"] = [text_delta("Hello"), error]
        connection = await front.connect()
        await connection.send(STREAM)
        reply = await connection.reply()
        *_, last = reply.chunks
        assert json.loads(last[6:])["error"]["code"] == "upstream_error"
        assert b"[DONE]" not in reply.body
        record = await front.records.get()
        assert (record.http_status, record.reason) == (200, "UPSTREAM_ERROR")

    async def test_an_unknown_fault_within_the_stream_ends_the_connection(self, front: Front) -> None:
        front.channel.streams["StreamGenerate"] = [text_delta("Hello"), KeyError("odd")]
        connection = await front.connect()
        with capture_logs() as logs:
            await connection.send(STREAM + PROBE)
            await connection.head()
            assert b"0\r\n\r\n" not in await connection.closed()
        assert [entry["event"] for entry in logs] == ["unhandled fault"]

    async def test_a_header_that_would_be_two_is_an_internal_error(self, front: Front) -> None:
        front.channel.metadata["x-model-id"] = "m\r\nx-evil: yes"
        connection = await front.connect()
        with capture_logs():
            await connection.send(CHAT)
            reply = await connection.reply()
        assert (reply.status, "x-evil" in reply.headers) == (500, False)

    @settings(write_timeout=Seconds(0.2))
    async def test_a_client_that_does_not_read_is_cut(self, front: Front) -> None:
        front.channel.streams["StreamGenerate"] = [text_delta("x" * 100_000) for _ in range(400)]
        with socket.create_connection(("127.0.0.1", front.port)) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.get_running_loop().run_in_executor(None, deaf.sendall, STREAM)
            record = await asyncio.wait_for(front.records.get(), 5)
        assert record.reason == "CANCELLED"
        assert front.channel.last.cancelled.is_set()
        assert front.channel.last.closed.is_set()


class TestSlowClients:
    @settings(header_timeout=Seconds(0.05))
    async def test_headers_that_trickle_are_cut(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        reply = await connection.reply()
        assert (reply.status, reply.json()["error"]["message"]) == (
            400,
            "The request did not arrive in time.",
        )
        assert await connection.closed() == b""

    @settings(header_timeout=Seconds(0.05))
    async def test_a_connection_that_says_nothing_is_closed_without_a_word(self, front: Front) -> None:
        assert await (await front.connect()).closed() == b""
        assert front.records.empty()

    @settings(header_timeout=Seconds(0.05))
    async def test_empty_lines_do_not_keep_a_used_connection(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(PROBE)
        await connection.reply()
        await connection.send(b"\r\n")
        assert (await connection.reply()).status == 400

    @settings(body_timeout=Seconds(0.05))
    async def test_a_body_that_stalls_is_cut(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(CHAT[:-10])
        reply = await connection.reply()
        assert (reply.status, reply.headers["connection"]) == (400, "close")
        assert await connection.closed() == b""
        assert front.channel.asked == []

    @settings(header_timeout=Seconds(0.05), body_timeout=Seconds(0.05))
    async def test_a_slow_answer_is_not_a_slow_request(self, front: Front) -> None:
        waited = asyncio.Event()

        async def late(request: object) -> GenerateResponse:
            asyncio.get_running_loop().call_later(0.15, waited.set)
            await waited.wait()
            return GenerateResponse(id="late")

        front.channel.answers["Generate"] = late
        connection = await front.connect()
        await connection.send(CHAT)
        assert (await connection.reply()).json()["id"] == "late"

    @settings(idle_timeout=Seconds(0.05))
    async def test_an_unused_connection_is_closed(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(PROBE)
        assert (await connection.reply()).status == 200
        assert await connection.closed() == b""


class TestConnections:
    async def test_pipelined_requests_are_answered_in_order(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(CHAT + STREAM + PROBE * 3 + CHAT)
        assert [(await connection.reply()).status for _ in range(6)] == [200] * 6

    async def test_a_connection_has_one_task_that_ends_with_it(self, front: Front) -> None:
        connection, open_tasks = await front.connect(), front.server._opened.tasks
        tasks = set()
        for _ in range(3):
            await connection.send(CHAT)
            assert (await connection.reply()).status == 200
            tasks |= open_tasks
            assert front.server.running == 0
        assert len(tasks) == 1
        await connection.close()
        await asyncio.wait(tasks, timeout=10)
        assert not open_tasks

    async def test_a_request_that_is_being_answered_is_counted(self, front: Front) -> None:
        front.channel.streams["StreamGenerate"] = [text_delta("a"), asyncio.Event().wait()]
        connection = await front.connect()
        await connection.send(STREAM)
        await connection.head()
        assert front.server.running == 1

    async def test_a_fault_behind_a_reply_ends_the_connection(self) -> None:
        def odd(record: EdgeRecord) -> None:
            raise KeyError("odd")

        server = build_server(SETTINGS, build(SETTINGS, Clients.over(FakeChannel()), odd, lambda: []))
        connection = await RawConnection.open(await server.start())
        with capture_logs() as logs:
            await connection.send(PROBE * 2)
            assert (await connection.reply()).status == 200
            assert await connection.closed() == b""
        assert [entry["event"] for entry in logs] == ["unhandled fault of the listener"]
        await server.stop(0)

    async def test_garbage_behind_a_request_does_not_cost_its_answer(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(CHAT + b"NONSENSE\r\n\r\n")
        assert (await connection.reply()).status == 200
        assert await connection.closed() == b""

    async def test_a_client_that_asks_first_is_told_to_go_on(self, front: Front) -> None:
        connection = await front.connect()
        head = http_request("POST", "/v1/chat/completions", BODY, headers={"Expect": "100-continue"})[
            : -len(BODY)
        ]
        await connection.send(head)
        assert (await connection.head())[0] == 100
        await connection.send(BODY)
        assert (await connection.reply()).status == 200

    async def test_a_client_that_asks_first_is_refused_without_its_body(self, front: Front) -> None:
        connection = await front.connect()
        fields = {"Expect": "100-continue", "Content-Type": "application/json", "Content-Length": "99999999"}
        await connection.send(http_request("POST", "/v1/chat/completions", headers=fields))
        reply = await connection.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert await connection.closed() == b""

    async def test_after_a_refused_body_the_connection_goes_on(self, front: Front) -> None:
        connection = await front.connect()
        fields = {"Content-Type": "application/json", "Content-Length": "6000000"}
        await connection.send(http_request("POST", "/v1/embeddings", headers=fields))
        assert (await connection.reply()).status == 413
        await connection.send(b"x" * 6_000_000)
        await connection.send(PROBE)
        assert (await connection.reply()).status == 200

    async def test_a_long_end_of_a_refused_body_is_no_head(self, front: Front) -> None:
        connection, other = await front.connect(), await front.connect()
        for _ in range(3):
            whole = http_request("POST", "/v1/nope", b"x" * 60_000)
            await connection.send(whole[:10_000])
            assert (await connection.reply()).status == 404
            await connection.send(whole[10_000:])
            # An answer elsewhere: by then the server has read the rest, and the next request cannot come with it.
            await other.send(PROBE)
            await other.reply()

    async def test_a_head_request_has_the_headers_alone(self, front: Front) -> None:
        connection = await front.connect()
        await connection.send(http_request("HEAD", "/healthz") + PROBE)
        status, headers = await connection.head()
        assert (status, headers["content-length"]) == (200, "15")
        assert (await connection.reply()).body == b'{"status":"ok"}'

    async def test_an_upgrade_is_ignored_and_the_connection_ends(self, front: Front) -> None:
        connection = await front.connect()
        fields = {"Connection": "Upgrade", "Upgrade": "websocket"}
        await connection.send(http_request("GET", "/healthz", headers=fields))
        reply = await connection.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await connection.closed() == b""


class TestLifecycle:
    async def test_a_taken_port_is_an_os_error(self, front: Front) -> None:
        again = build_server(
            replace(SETTINGS, http=HostPort("127.0.0.1", front.port)),
            build(SETTINGS, Clients.over(front.channel), lambda _: None, lambda: []),
        )
        with pytest.raises(OSError, match=str(front.port)):
            await again.start()

    async def test_stopping_lets_a_running_stream_end(self, front: Front) -> None:
        go_on = asyncio.Event()
        front.channel.streams["StreamGenerate"] = [text_delta("a"), go_on.wait(), *text_stream("b")]
        idle, running = await front.connect(), await front.connect()
        await running.send(STREAM)
        await running.head()
        stopping = asyncio.create_task(front.server.stop(10))
        assert await idle.closed() == b""
        go_on.set()
        assert [chunk async for chunk in running][-1] == b"data: [DONE]\n\n"
        assert await running.closed() == b""
        await stopping
        with pytest.raises(OSError):
            await front.connect()

    async def test_stopping_cuts_what_outlasts_the_grace(self, front: Front) -> None:
        front.channel.streams["StreamGenerate"] = [text_delta("a"), asyncio.Event().wait()]
        connection = await front.connect()
        await connection.send(STREAM)
        await connection.head()
        await front.server.stop(0)
        assert front.channel.last.cancelled.is_set()

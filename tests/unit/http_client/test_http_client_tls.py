"""Providers over TLS: certificates and names are checked, HTTP/1.1 is agreed on, and connections are kept."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headgate_clock import SystemClock
from headgate_inference.adapters.http_client import HttpTransport
from headgate_inference.adapters.http_pool import tls_context
from headgate_inference.adapters.transport import Target, Unreachable
from headgate_testing.raw_server import RawPeer, RawServer

BODY = b"a whole answer"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes the certificate"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for `localhost` and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    )
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost", *files], check=True, capture_output=True
    )
    both = folder / "both"
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def end_everything() -> None:
    """A test that waits for what never comes fails."""
    for task in asyncio.all_tasks():
        task.cancel()


@pytest.fixture(autouse=True)
async def transport(certificate: Path) -> AsyncIterator[HttpTransport]:
    """Trusts the certificate; leaves nothing open."""
    made = HttpTransport(SystemClock(), tls=tls_context(str(certificate)))
    late = asyncio.get_running_loop().call_later(20, end_everything)
    yield made
    await made.close()
    late.cancel()
    assert not made._pool._open


def target_of(port: int, host: str = "localhost") -> Target:
    return Target.of(f"https://{host}:{port}/", {}, 3.0)


async def answering(peer: RawPeer) -> None:
    while await peer.request():
        await peer.send(WHOLE)


async def test_requests_share_a_connection_that_speaks_http_1(
    transport: HttpTransport, server_tls: ssl.SSLContext
) -> None:
    agreed: list[str | None] = []
    names: list[str | None] = []
    server_tls.set_alpn_protocols(["h2", "http/1.1"])
    server_tls.sni_callback = lambda connection, name, context: names.append(name)

    async def handle(peer: RawPeer) -> None:
        agreed.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(peer)

    async with RawServer(handle, server_tls) as server:
        for _ in range(3):
            reply = await transport.post(target_of(server.port), {}, bytes(100_000))
            assert await reply.read() == BODY
            assert await reply.read() == b""
        assert server.connections == 1
    assert (agreed, names) == (["http/1.1"], ["localhost"])


async def test_a_certificate_for_another_name_is_refused(
    transport: HttpTransport, server_tls: ssl.SSLContext
) -> None:
    async with RawServer(answering, server_tls) as server:
        with pytest.raises(Unreachable, match="certificate"):
            await transport.post(target_of(server.port, "127.0.0.1"), {}, b"secret")


async def test_a_certificate_that_nobody_vouches_for_is_refused(server_tls: ssl.SSLContext) -> None:
    transport = HttpTransport(SystemClock())
    async with RawServer(answering, server_tls) as server:
        with pytest.raises(Unreachable, match="certificate"):
            await transport.post(target_of(server.port), {}, b"secret")
        await transport.close()


async def test_a_server_without_tls_is_refused(transport: HttpTransport) -> None:
    async def handle(peer: RawPeer) -> None:
        await peer.send(WHOLE)

    async with RawServer(handle) as server:
        with pytest.raises(Unreachable):
            await transport.post(target_of(server.port), {}, b"secret")


async def test_a_body_may_end_with_the_connection(
    transport: HttpTransport, server_tls: ssl.SSLContext
) -> None:
    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", BODY)

    async with RawServer(handle, server_tls) as server:
        for _ in range(2):
            reply = await transport.post(target_of(server.port), {}, b"")
            assert await reply.read() == BODY
            assert await reply.read() == b""
        assert server.connections == 2


async def test_a_kept_connection_that_was_closed_is_replaced(
    transport: HttpTransport, server_tls: ssl.SSLContext
) -> None:
    async def handle(peer: RawPeer) -> None:
        if await peer.request():
            await peer.send(WHOLE)
        if not peer.number:
            await peer.request()
        peer.reset()

    async with RawServer(handle, server_tls) as server:
        for _ in range(2):
            reply = await transport.post(target_of(server.port), {}, b"")
            assert await reply.read() == BODY
        assert server.connections == 2


@pytest.mark.parametrize("started", [b"", b"HTTP/1.1 200 OK\r\n\r\nbegun"])
async def test_going_away_closes_the_connection(
    transport: HttpTransport, server_tls: ssl.SSLContext, started: bytes
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(started)
        asked.set()
        await peer.gone()
        gone.set()

    async with RawServer(handle, server_tls) as server:
        waiting = asyncio.create_task(transport.post(target_of(server.port), {}, b""))
        await asked.wait()
        if started:
            (await waiting).close()
        else:
            waiting.cancel()
        await gone.wait()

"""Sample clients split every piece they read at line ends and keep no rest: an event must never be split, and what
is joined must fit one packet."""

import asyncio

import pytest

from headgate_gateway.chat.chunks import KEEP_ALIVE
from headgate_gateway.chat.events import EventWriter

LIMIT = 1200


class Socket:
    """Joins what is written within one turn of the event loop, as uvloop does, and remembers each joined write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.ended = False
        self.wrote = asyncio.Event()
        self._turn = b""

    async def __call__(self, data: bytes, more: bool) -> None:
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._flush)
        self._turn += data
        self.ended = self.ended or not more

    def _flush(self) -> None:
        self.writes.append(self._turn)
        self._turn = b""
        self.wrote.set()


def events(*sizes: int) -> list[bytes]:
    return [(b"data: %d " % index).ljust(size - 2, b"x") + b"\n\n" for index, size in enumerate(sizes)]


async def written(*batches: list[bytes]) -> list[bytes]:
    socket = Socket()
    writer = EventWriter(socket, idle=60)
    for batch in batches:
        await writer.write(batch)
    await writer.finish([])
    writer.close()
    await asyncio.sleep(0)
    assert socket.ended
    assert b"".join(socket.writes) == b"".join(b"".join(batch) for batch in batches)
    return [write for write in socket.writes if write]


async def test_events_ready_together_share_one_write() -> None:
    assert len(await written(events(100, 100, 100))) == 1


@pytest.mark.parametrize("batch", [True, False], ids=["in one message", "message by message"])
async def test_no_write_is_larger_than_the_limit_or_ends_within_an_event(batch: bool) -> None:
    made = events(*[300] * 50)
    writes = await written(made) if batch else await written(*([each] for each in made))
    assert len(writes) > 10
    for write in writes:
        assert len(write) <= LIMIT
        assert write.endswith(b"\n\n")


async def test_a_larger_event_goes_alone_and_whole() -> None:
    writes = await written(events(100, 5000, 100))
    assert [len(write) for write in writes] == [100, 5000, 100]


async def test_silence_is_broken_by_a_comment_and_then_the_stream_goes_on() -> None:
    socket = Socket()
    writer = EventWriter(socket, idle=0.01)
    await asyncio.wait_for(socket.wrote.wait(), 5)
    assert socket.writes[0] == KEEP_ALIVE
    await writer.finish(events(50))
    writer.close()
    await asyncio.sleep(0)
    assert socket.writes[-1].endswith(events(50)[0])


async def test_a_closed_writer_is_silent() -> None:
    socket = Socket()
    writer = EventWriter(socket, idle=0.01)
    writer.close()
    quiet = EventWriter(other := Socket(), idle=0.02)
    await asyncio.wait_for(other.wrote.wait(), 5)
    quiet.close()
    assert socket.writes == []

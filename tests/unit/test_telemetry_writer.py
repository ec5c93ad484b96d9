"""Log lines reach the descriptor whole and in order; a reader that stops reading costs lines, not time."""

import os
import threading

from headgate_telemetry.writer import LineWriter


def test_lines_arrive_in_order_and_close_waits_for_them():
    reader, writer = os.pipe()
    out = LineWriter(writer)
    for number in range(1000):
        out.write(f"{number}\n".encode())
    out.close()
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert lines.read().split() == [str(number) for number in range(1000)]


def test_a_full_pipe_drops_and_counts_but_never_waits():
    reader, writer = os.pipe()
    dropped: list[int] = []
    out = LineWriter(writer, limit_bytes=100_000, on_drop=dropped.append)
    line = b"x" * 999 + b"\n"
    for _ in range(1000):  # 1 MB into a pipe of 64 KiB that nobody reads
        out.write(line)
    assert 1000 - 64 - 100 - 100 <= sum(dropped) < 1000

    received: list[bytes] = []

    def receive():
        with os.fdopen(reader, "rb") as lines:
            received.extend(lines)

    thread = threading.Thread(target=receive)
    thread.start()
    out.close(timeout=10)
    os.close(writer)
    thread.join(10)
    assert len(received) + sum(dropped) == 1000
    assert set(received) == {line}


def test_a_reader_that_is_gone_is_counted():
    reader, writer = os.pipe()
    os.close(reader)
    dropped: list[int] = []
    out = LineWriter(writer, on_drop=dropped.append)
    out.write(b"a\nb\n", 2)
    out.close()
    os.close(writer)
    assert sum(dropped) == 2


def test_a_descriptor_that_does_not_block_is_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    out = LineWriter(writer)
    out.write(b"y" * 300_000 + b"\n")
    thread = threading.Thread(target=out.close, args=(10,))
    thread.start()
    with os.fdopen(reader, "rb") as lines:
        assert len(lines.readline()) == 300_001
    thread.join(10)
    os.close(writer)


def test_nothing_is_taken_after_close():
    reader, writer = os.pipe()
    dropped: list[int] = []
    out = LineWriter(writer, on_drop=dropped.append)
    out.close()
    out.write(b"late\n")
    assert dropped == [1]
    os.close(reader)
    os.close(writer)

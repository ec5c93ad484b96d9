"""The last state of a watch, on disk, so that a process can start while its source is away.

A snapshot is one message of the stream it comes from: a part that holds everything. In front of it stands a line
with the format, the message's name, when the source was last heard (milliseconds since the Unix epoch) and the
SHA-256 of all that. Credentials must never be in one."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from headgate.watch.v1 import watch_pb2
from headgate_clock import Clock
from headgate_telemetry.logs import get_logger

log = get_logger()

R = TypeVar("R", bound=Message)

_FORMAT = b"headgate-snapshot-1"
# For the start alone (reliability.md, section 2): a process that runs goes on with what it was told, however long ago
# that was; it knows its age, tells it as a metric, and to stop would turn a source's outage into one of everything.
MAX_AGE_S = 24 * 3600.0


class SnapshotFile(Generic[R]):
    """The file at `path`, mode 0600, of messages of `response_class`. All methods block."""

    def __init__(self, path: Path, response_class: type[R], clock: Clock) -> None:
        self.path = path
        self._response_class = response_class
        self._clock = clock

    def save(self, items: Iterable[Message], position: watch_pb2.Position, age_s: float = 0) -> None:
        """Replace the file, whole or not at all; the source was heard `age_s` seconds ago. Raises OSError."""
        message: Any = self._response_class()
        message.position.CopyFrom(position)
        message.part.items.extend(items)
        message.part.last = True
        body = message.SerializeToString()
        heard_ms = b"%d" % (self._clock.wall_ms() - round(age_s * 1000))
        line = b" ".join((*self._signed(heard_ms), self._digest(heard_ms, body)))
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own: processes of one machine may share the folder. mkstemp makes it 0600.
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(line + b"\n" + body)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink()
            raise

    def load(self) -> tuple[R, float] | None:
        """The message and its age in seconds; None, and a log line, for a file that cannot be used; None for none."""
        try:
            return self._parse(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, DecodeError) as fault:
            log.warning("snapshot ignored", file=str(self.path), fault=str(fault))
            return None

    def _parse(self, content: bytes) -> tuple[R, float]:
        line, _, body = content.partition(b"\n")
        *signed, digest = line.split(b" ")
        if len(signed) != 3 or not signed[2].isdigit() or signed != self._signed(signed[2]):
            raise ValueError("not a snapshot of this watch")
        if digest != self._digest(signed[2], body):
            raise ValueError("damaged")
        age_s = (self._clock.wall_ms() - int(signed[2])) / 1000
        if age_s > MAX_AGE_S:
            raise ValueError(f"older than {MAX_AGE_S:.0f} s")
        # It need not be synced to be trusted: what a power cut leaves half written is damaged.
        return self._response_class.FromString(body), max(age_s, 0.0)

    def _signed(self, heard_ms: bytes) -> list[bytes]:
        return [_FORMAT, self._response_class.DESCRIPTOR.full_name.encode(), heard_ms]

    def _digest(self, heard_ms: bytes, body: bytes) -> bytes:
        return hashlib.sha256(b" ".join(self._signed(heard_ms)) + b"\n" + body).hexdigest().encode()

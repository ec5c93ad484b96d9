"""Server-sent events from bytes as they come (WHATWG HTML, section 9.2), for streams of JSON: only `data` counts.

Own code, since a provider may split its bytes anywhere and send lines without end; both must cost no more
than the bytes themselves."""

_BOM = b"\xef\xbb\xbf"


class SseOverflow(ValueError):
    """An event grew beyond the limit."""


class SseParser:
    """Feed it bytes, get the payloads of the events they completed.

    Lines end in LF, CR LF or CR. Comments and other fields are skipped, several `data` lines of an event are
    joined by LF, as the standard says. `limit` bounds one event, in bytes; what came before an event beyond it
    is given, then SseOverflow is raised.
    """

    __slots__ = ("_after_cr", "_begun", "_data", "_limit", "_overflown", "_pending", "_tail")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = bytearray()  # the unfinished line
        self._data: list[bytes] = []  # data lines of the unfinished event
        self._pending = 0  # their bytes
        self._after_cr = False
        self._begun = False
        self._overflown = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads completed by `data`, in order."""
        if self._overflown:
            raise SseOverflow(f"an event of more than {self._limit} bytes")
        data = self._with_line_feeds(data)
        if b"\n" not in data:
            self._keep(data)
            return []
        *lines, rest = data.split(b"\n")
        if self._tail:
            lines[0] = bytes(self._tail) + lines[0]
            self._tail.clear()
        events = self._events(lines)
        self._keep(rest)
        return events

    def finish(self) -> list[bytes]:
        """The payload of a last event whose closing line ends are missing, if there is one. The standard drops
        it; a provider that forgets the line end meant it, and one that was cut sent half of its JSON."""
        return self.feed(b"\n\n")

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 10:
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data[-1] == 13
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _keep(self, rest: bytes) -> None:
        self._tail += rest
        self._overflown = self._overflown or self._pending + len(self._tail) > self._limit

    def _events(self, lines: list[bytes]) -> list[bytes]:
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        events = []
        for line in lines:
            if self._pending + len(line) > self._limit:
                self._overflown = True
                break
            if line.startswith(b"data:"):
                self._pending += len(line)
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
                self._pending = 0
        return events

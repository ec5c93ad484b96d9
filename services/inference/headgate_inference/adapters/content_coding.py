"""Bodies that a provider compressed although it was asked not to."""

import zlib
from typing import Protocol

_READ_BYTES = 256 * 1024
_AUTO = 32 + zlib.MAX_WBITS  # gzip or zlib, as its header says


class BadCoding(ValueError):
    """The body is not what its Content-Encoding says, or the coding is unknown."""


class Decoder(Protocol):
    """Takes the body as it came, gives it as it was meant."""

    def decode(self, data: bytes) -> bytes:
        """At most 256 KiB of what `data` and what is held expand to. Raises BadCoding."""

    @property
    def held(self) -> bool:
        """Whether more would come without more data."""

    def finish(self) -> None:
        """The body has ended. Raises BadCoding when it should not have."""


def decoder_for(content_encoding: str) -> Decoder | None:
    """What undoes a Content-Encoding; None when there is nothing to undo."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return None
    return _Inflate() if coding in ("gzip", "x-gzip", "deflate") else _Unknown(coding)


class _Inflate:
    """gzip and deflate. A small body may expand a thousandfold, so it is expanded as it is read."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._tail = b""
        self._full = False

    @property
    def held(self) -> bool:
        return self._full or bool(self._tail)

    def decode(self, data: bytes) -> bytes:
        data = self._tail + data
        if not data and not self._full:
            return b""
        if self._stream is None:
            # "deflate" means zlib's format (RFC 9110, 8.4.1.2), but some servers send the bare stream.
            known = data[0] == 0x1F or data[0] & 0x0F == 8
            self._stream = zlib.decompressobj(_AUTO if known else -zlib.MAX_WBITS)
        try:
            expanded = self._stream.decompress(data, _READ_BYTES)
        except zlib.error:
            raise BadCoding("the body is not compressed as it says") from None
        if self._stream.unused_data:
            raise BadCoding("something follows the compressed body")
        self._tail = self._stream.unconsumed_tail
        self._full = len(expanded) == _READ_BYTES
        return expanded

    def finish(self) -> None:
        if self._stream is not None and not self._stream.eof:
            raise BadCoding("the compressed body is incomplete")


class _Unknown:
    """Refuses when it is read: the status alone is worth having."""

    def __init__(self, coding: str) -> None:
        self._coding = coding

    @property
    def held(self) -> bool:
        return False

    def decode(self, data: bytes) -> bytes:
        raise BadCoding(f"unknown content coding {self._coding!r}")

    def finish(self) -> None:
        return None

"""Lines out of a stream of bytes, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
SLICE = 16_384  # bytes looked at in one go, a millisecond or so, so that other requests get their turn


@dataclass(frozen=True)
class Line:
    """A line that is not blank; `data` is None when it was longer than allowed, `size` its length then."""

    number: int  # from 1
    data: bytes | None
    size: int


class LineReader:
    """Feed it pieces of a body; it yields complete lines and keeps at most one unfinished line."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._pieces: list[bytes] = []  # of the unfinished line
        self._size = 0
        self._number = 0

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that `data` completes."""
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._keep(piece)
            yield from self.end()
        self._keep(rest)

    def end(self) -> Iterator[Line]:
        """The unfinished line, at the end of a body without a last newline."""
        size, line = self._size, b"".join(self._pieces)
        self._pieces, self._size = [], 0
        self._number += 1
        if size > self._max:
            yield Line(self._number, None, size)
            return
        if self._number == 1:
            line = line.removeprefix(BOM)
        if line.strip():
            yield Line(self._number, line, size)

    def _keep(self, piece: bytes) -> None:
        """Remember a part of a line, or only its length once the line is too long."""
        self._size += len(piece)
        if self._size > self._max:
            self._pieces = []
        elif piece:
            self._pieces.append(piece)


def slices(chunk: bytes) -> Iterator[bytes]:
    """A chunk in pieces of at most SLICE bytes."""
    for start in range(0, len(chunk), SLICE):
        yield chunk[start : start + SLICE]

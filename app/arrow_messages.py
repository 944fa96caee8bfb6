"""The messages of an Arrow IPC stream, cut out of a body as it arrives: nothing is read, or reserved, that is too long.

A message is `ff ff ff ff`, the length of its header, the header (a flatbuffer that says what it is and how long its
body is), and the body. https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format
"""

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from app.problems import Refused

CONTINUATION, FILE_MAGIC = b"\xff\xff\xff\xff", b"ARROW1"
SCHEMA, RECORD_BATCH = 1, 3  # kinds of messages
MAX_HEADER = 1 << 20
VERSION, KIND, HEADER, BODY_LENGTH, COMPRESSION = 0, 1, 2, 3, 3  # places in the tables of Message and RecordBatch


@dataclass(frozen=True)
class Message:
    """One message as it came."""

    kind: int
    data: bytes


class Messages:
    """Cuts a body into messages of at most `max_bytes`; Refused (400, 413) for what is no Arrow stream."""

    def __init__(self, chunks: AsyncIterator[bytes], max_bytes: int) -> None:
        self._chunks, self._max = chunks, max_bytes
        self._held = b""  # of the last chunk, what is not taken yet

    async def __aiter__(self) -> AsyncIterator[Message]:
        """All of them up to the end of the stream, or of the body at the end of a message."""
        while start := await self._take(8, may_end=True):
            size = _header_size(start)
            if size == 0:
                return
            header = await self._take(size)
            kind, length = read_header(header)
            if length > self._max:
                detail = f"a record batch has {length} bytes, the limit is {self._max}: send fewer rows in each"
                raise Refused("body-too-large", detail, limit=self._max)
            yield Message(kind, start + header + await self._take(length))

    async def _take(self, size: int, may_end: bool = False) -> bytes:
        """The next so many bytes; with `may_end` none at the end of the body."""
        pieces, have = [self._held], len(self._held)
        while have < size:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                if may_end and not have:
                    return b""
                raise malformed(f"the body ends after {have} of {size} bytes of a part")
            pieces.append(chunk)
            have += len(chunk)
        data = b"".join(pieces)
        self._held = data[size:]
        return data[:size]


def malformed(why: str) -> Refused:
    """What a body is answered with that is no Arrow stream."""
    return Refused("malformed-arrow", f"not a stream of Arrow record batches: {why}")


def _header_size(start: bytes) -> int:
    mark, size = start[:4], struct.unpack_from("<i", start, 4)[0]
    if start.startswith(FILE_MAGIC):
        raise malformed("it is an Arrow file; send the stream format, as pyarrow.ipc.new_stream writes it")
    if mark != CONTINUATION:
        raise malformed(f"a message begins with ffffffff, got {mark.hex()}")
    if not 0 <= size <= MAX_HEADER:
        raise malformed(f"the header of a message has {size} bytes, the limit is {MAX_HEADER}")
    return int(size)


def read_header(header: bytes) -> tuple[int, int]:
    """Kind and length of the body of a message; Refused when it is damaged, or its body compressed."""
    try:
        message = struct.unpack_from("<I", header, 0)[0]
        kind_at, header_at, length_at = (_field(header, message, place) for place in (KIND, HEADER, BODY_LENGTH))
        kind = header[kind_at] if kind_at else 0
        length = struct.unpack_from("<q", header, length_at)[0] if length_at else 0
        table = header_at + struct.unpack_from("<I", header, header_at)[0]
        compressed = kind == RECORD_BATCH and _field(header, table, COMPRESSION)
    except (struct.error, IndexError):
        raise malformed("the header of a message is damaged") from None
    if compressed:
        raise malformed("its buffers are compressed: a few bytes could stand for any number; send them as they are")
    if length < 0:
        raise malformed(f"a message has a body of {length} bytes")
    return kind, length


def _field(data: bytes, table: int, place: int) -> int:
    """Where a field of a flatbuffer's table is; 0 where it has its default."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    slot = 4 + 2 * place
    offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < struct.unpack_from("<H", data, vtable)[0] else 0
    return table + offset if offset else 0

"""The file of a snapshot: an uncompressed tar of plain members, the checksums of all of them at its end.

`tar` unpacks it and `sha256sum -c SHA256SUMS` checks it. We read it strictly, header by header: links, devices,
directories, and extended headers, which can be of any length, are refused.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from index.errors import StoreCorrupt, StoreFormat

HEADER = 512  # bytes; members are padded to a multiple of them
CHUNK = 1 << 20
SMALL = 1 << 20  # bytes of a member that is read as a whole
SUMS = "SHA256SUMS"
END = bytes(2 * HEADER)


def write_member(file: BinaryIO, name: str, size: int, chunks: Iterable[bytes], mtime: int) -> str:
    """Write one member; returns its SHA-256 in hexadecimal. StoreCorrupt when there are not `size` bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, mtime, 0o640
    file.write(info.tobuf(tarfile.GNU_FORMAT))
    digest, written = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        written += file.write(chunk)
    if written != size:
        raise StoreCorrupt(f"{name} has {written:,} bytes, expected {size:,}")
    file.write(bytes(-size % HEADER))
    return digest.hexdigest()


def sums_text(sums: dict[str, str]) -> bytes:
    """Checksums by name as `sha256sum` writes them."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()


def parsed_sums(text: bytes) -> dict[str, str]:
    """Checksums by name; StoreCorrupt when a line is of another form."""
    sums = {}
    for line in text.decode("ascii", "replace").splitlines():
        digest, separator, name = line.partition("  ")
        if len(digest) != 64 or not separator or name in sums:
            raise StoreCorrupt(f"{SUMS} has a line that is no checksum: {line[:100]!r}")
        sums[name] = digest
    return sums


def next_header(file: BinaryIO) -> tuple[str, int] | None:
    """Name and size of the next member, whose bytes follow; None at the end. StoreFormat, StoreCorrupt."""
    block = file.read(HEADER)
    if block == bytes(HEADER):
        return None
    if len(block) < HEADER:
        raise StoreCorrupt("the file ends in the middle of a snapshot")
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise StoreFormat(f"this is no snapshot: {error}") from None
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size < 0:
        raise StoreFormat(f"this is no snapshot: member {info.name!r} is not a plain file")
    return info.name, info.size


def chunks_of(file: BinaryIO, name: str, size: int) -> Iterator[bytes]:
    """The bytes of the member whose header was just read, up to the next header."""
    left = size
    while left:
        yield (chunk := _some(file, name, min(CHUNK, left)))
        left -= len(chunk)
    padding = -size % HEADER
    while padding:
        padding -= len(_some(file, name, padding))


def small_member(file: BinaryIO, wanted: str) -> bytes:
    """The whole next member, which has this name and at most a MiB; StoreFormat, StoreCorrupt."""
    found = next_header(file)
    if found is None or found[0] != wanted:
        raise StoreFormat(f"this is no snapshot: expected {wanted}, found {found[0] if found else 'the end'!r}")
    if found[1] > SMALL:
        raise StoreFormat(f"this is no snapshot: {wanted} has {found[1]:,} bytes, at most {SMALL:,} are read")
    return b"".join(chunks_of(file, *found))


def room_of(size: int) -> int:
    """Bytes that a member of this size takes in the file."""
    return HEADER + size + -size % HEADER


def file_chunks(read: Callable[[int, int], bytes], size: int) -> Iterator[bytes]:
    """The first `size` bytes of what `read(count, offset)` reads, or those there are."""
    for start in range(0, size, CHUNK):
        yield read(min(CHUNK, size - start), start)


def _some(file: BinaryIO, name: str, size: int) -> bytes:
    data = file.read(size)
    if not data:
        raise StoreCorrupt(f"the file ends in the middle of {name}")
    return data

"""The file of full vectors: append-only rows, a checksum each, written by pwrite and read through a mapping.

Rows past the last committed one are garbage of an interrupted write and are overwritten. Nothing is written
through the mapping: a full disk must be an error, not a SIGBUS.
"""

import errno
import mmap
import os
import zlib
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from index.codec import Codec
from index.errors import FunnelError, StorageFull, StoreCorrupt, StoreUnavailable
from index.layout import sync_directory
from index.told import is_full

MIN_GROWTH = 4 << 20  # bytes; a file grows by a quarter of its size between these two
MAX_GROWTH = 256 << 20
CHECKSUM_BYTES = 4


class VectorFile:
    """`vectors-<gen>.bin` and its `.crc` beside it. One writer; any number of readers of `matrix`."""

    def __init__(self, path: Path, checksum_path: Path, codec: Codec, create: bool = False) -> None:
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        self.path, self.codec = path, codec
        try:
            self._data = os.open(path, flags, 0o640)
        except OSError as error:
            raise StoreCorrupt(f"cannot open {path}: {error.strerror}") from None
        try:
            self._checksums = os.open(checksum_path, flags, 0o640)
        except OSError as error:
            os.close(self._data)
            raise StoreCorrupt(f"cannot open {checksum_path}: {error.strerror}") from None
        if create:
            sync_directory(path.parent)
        self._mapping, self._sums = _mapped(self._data), _mapped(self._checksums)

    @property
    def capacity(self) -> int:
        """Rows that fit into the file as it is."""
        return os.fstat(self._data).st_size // self.codec.row_bytes

    def reserve(self, rows: int) -> None:
        """Take the room that so many rows need, and no more; raises StorageFull or StoreUnavailable."""
        needed, size = rows * self.codec.row_bytes, os.fstat(self._data).st_size
        try:
            if needed > size:
                self._allocate(size, needed, needed)
        except OSError as error:
            raise self._failed(error, needed - size) from error

    def write(self, start: int, raw: np.ndarray) -> float:
        """Write (n, row_bytes) rows and their checksums at row `start` and fsync both files; the seconds of the fsyncs.

        Raises StorageFull when there is no room, StoreUnavailable on any other I/O error and on every failed
        fsync, after which nobody knows what the disk holds.
        """
        row_bytes = self.codec.row_bytes
        sums = row_checksums(raw, start)
        try:
            self._reserve((start + len(raw)) * row_bytes)
            _pwrite(self._data, raw, start * row_bytes)
            _pwrite(self._checksums, sums, start * CHECKSUM_BYTES)
        except OSError as error:
            raise self._failed(error, raw.nbytes) from error
        begun = perf_counter()
        try:
            os.fsync(self._data)
            os.fsync(self._checksums)
        except OSError as error:
            raise StoreUnavailable(f"syncing {self.path} failed: {error}") from error
        return perf_counter() - begun

    def matrix(self, rows: int) -> np.ndarray:
        """The first `rows` rows as a read-only (rows, row_bytes) uint8 view of the mapping."""
        needed = rows * self.codec.row_bytes
        mapping = self._mapping  # another thread may replace it, even by a shorter one
        if needed > mapping.size:
            self._mapping = mapping = _mapped(self._data)
        if needed > mapping.size:
            raise StoreCorrupt(f"{self.path} holds {mapping.size} bytes, {needed} are needed for {rows} rows")
        return mapping[:needed].reshape(rows, self.codec.row_bytes)

    def checksums(self, rows: int) -> np.ndarray:
        """The checksums of the first `rows` rows as a read-only (rows,) uint32 view of their mapping."""
        needed, mapping = rows * CHECKSUM_BYTES, self._sums
        if needed > mapping.size:
            self._sums = mapping = _mapped(self._checksums)
        if needed > mapping.size:
            raise StoreCorrupt(
                f"the checksums of {self.path} have {mapping.size} bytes, {needed} are needed for {rows} rows; "
                "`funnel repair` tells what can be done"
            )
        return mapping[:needed].view("<u4")

    def damaged(self, start: int, stop: int) -> list[int]:
        """Rows in [start, stop) whose bytes do not match their checksum."""
        stored = os.pread(self._checksums, (stop - start) * CHECKSUM_BYTES, start * CHECKSUM_BYTES)
        expected = np.zeros(stop - start, dtype="<u4")
        found = np.frombuffer(stored[: len(stored) // 4 * 4], dtype="<u4")
        expected[: len(found)] = found
        actual = row_checksums(self.matrix(stop)[start:], start)
        wrong = actual != expected
        wrong[len(found) :] = True
        return [start + int(row) for row in np.flatnonzero(wrong)]

    def close(self, rows: int | None = None) -> None:
        """Close both files, giving back what was preallocated past `rows`. Readers' views stay valid."""
        self._mapping = self._sums = np.empty(0, dtype=np.uint8)
        if rows is not None:
            os.ftruncate(self._data, rows * self.codec.row_bytes)
            os.ftruncate(self._checksums, rows * CHECKSUM_BYTES)
        os.close(self._data)
        os.close(self._checksums)

    def _reserve(self, needed: int) -> None:
        size = os.fstat(self._data).st_size
        if needed <= size:
            return
        growth = min(max(size // 4, MIN_GROWTH), MAX_GROWTH)
        wanted = max(needed, size + growth)
        self._allocate(size, needed, wanted)

    def _allocate(self, size: int, needed: int, wanted: int) -> None:
        if not hasattr(os, "posix_fallocate"):  # macOS
            os.ftruncate(self._data, wanted)
            return
        try:
            os.posix_fallocate(self._data, size, wanted - size)
        except OSError as error:
            if not is_full(error):
                raise
            os.posix_fallocate(self._data, size, needed - size)  # without the reserve there may be room

    def _failed(self, error: OSError, octets: int) -> FunnelError:
        if is_full(error):
            return StorageFull(f"no space left for {octets} bytes of vectors in {self.path}")
        return StoreUnavailable(f"writing {self.path} failed: {error}")


def row_checksums(raw: np.ndarray, start: int) -> np.ndarray:
    """CRC-32 (n,) of each row, seeded with the row number, so that a row at a wrong place is noticed too."""
    data = np.ascontiguousarray(raw)
    return np.fromiter(
        (zlib.crc32(row, (start + i) & 0xFFFFFFFF) for i, row in enumerate(data)), dtype="<u4", count=len(data)
    )


def row_checksum(raw: Any, row: int) -> int:
    """The same of one row, (row_bytes,) uint8 or as many bytes."""
    return zlib.crc32(raw, row & 0xFFFFFFFF)


def _mapped(descriptor: int) -> np.ndarray:
    """A whole file as uint8; raises MemoryError when no address space is left for it."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return np.empty(0, dtype=np.uint8)
    try:
        mapping = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"no memory left to map {size} bytes of vectors") from None
        raise
    # Without this, 500 cold rows read 990 MB through read-ahead.
    mapping.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapping, dtype=np.uint8)


def _pwrite(descriptor: int, array: np.ndarray, offset: int) -> None:
    data = memoryview(np.ascontiguousarray(array).data).cast("B")
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written

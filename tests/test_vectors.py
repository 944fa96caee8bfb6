"""The file of full vectors."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from index.codec import make_codec
from index.errors import StorageFull, StoreCorrupt, StoreUnavailable
from index.vectors import VectorFile, row_checksums
from index_cases import unit_vectors

CODEC = make_codec("float32", 32)


def opened(path: Path, create: bool = False) -> VectorFile:
    """The vector file of a folder."""
    return VectorFile(path / "v.bin", path / "v.crc", CODEC, create)


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Encoded rows."""
    return CODEC.encode(unit_vectors(count, seed=seed))


def test_rows_written_are_read_after_reopening(tmp_path: Path) -> None:
    """In one process and in the next, and their checksums hold."""
    file = opened(tmp_path, create=True)
    file.write(0, rows(10))
    file.write(10, rows(5, seed=1))
    expected = np.concatenate([rows(10), rows(5, seed=1)])
    assert (file.matrix(15) == expected).all()
    file.close(15)
    assert (tmp_path / "v.bin").stat().st_size == 15 * CODEC.row_bytes
    file = opened(tmp_path)
    assert (file.matrix(15) == expected).all()
    assert file.damaged(0, 15) == []
    file.close()


def test_rows_past_the_committed_ones_are_overwritten(tmp_path: Path) -> None:
    """What an interrupted write left behind is replaced by the next one."""
    file = opened(tmp_path, create=True)
    file.write(0, rows(10))
    file.write(5, rows(3, seed=2))
    assert (file.matrix(8) == np.concatenate([rows(5), rows(3, seed=2)])).all()
    assert file.damaged(0, 8) == []
    file.close()


def test_an_old_view_outlives_growth_and_closing(tmp_path: Path) -> None:
    """A reader keeps its mapping while the file grows, and after it is closed."""
    file = opened(tmp_path, create=True)
    file.write(0, rows(4))
    before = file.matrix(4)
    while file.capacity < 100_000:
        file.write(file.capacity, rows(1))
    assert file.matrix(file.capacity).shape == (file.capacity, CODEC.row_bytes)
    file.close(4)
    assert (before == rows(4)).all()


def test_the_mapping_cannot_be_written(tmp_path: Path) -> None:
    """Vectors are written by pwrite alone."""
    file = opened(tmp_path, create=True)
    file.write(0, rows(2))
    with pytest.raises(ValueError, match="read-only"):
        file.matrix(2)[0, 0] = 1
    file.close()


@pytest.mark.parametrize("place", ["v.bin", "v.crc"])
def test_a_flipped_bit_is_found(tmp_path: Path, place: str) -> None:
    """In a vector or in a checksum, and the row is named."""
    file = opened(tmp_path, create=True)
    file.write(0, rows(20))
    data = bytearray((tmp_path / place).read_bytes())
    data[13 * (CODEC.row_bytes if place == "v.bin" else 4) + 1] ^= 4
    (tmp_path / place).write_bytes(data)
    assert file.damaged(0, 20) == [13]
    assert file.damaged(0, 13) == []
    assert file.damaged(13, 14) == [13]
    file.close()


def test_a_row_at_a_wrong_place_is_found() -> None:
    """Checksums are seeded with the row's number."""
    assert row_checksums(rows(1), 3)[0] != row_checksums(rows(1), 4)[0]


def test_missing_checksums_are_damage(tmp_path: Path) -> None:
    """A checksum file that is too short condemns the rows it does not cover."""
    file = opened(tmp_path, create=True)
    file.write(0, rows(6))
    os.truncate(tmp_path / "v.crc", 4 * 4 + 2)
    assert file.damaged(0, 6) == [4, 5]
    file.close()


def test_too_short_a_file_is_corrupt(tmp_path: Path) -> None:
    """Asking for more rows than there are bytes is an error with both numbers, not a crash."""
    file = opened(tmp_path, create=True)
    file.write(0, rows(3))
    file.close(3)
    os.truncate(tmp_path / "v.bin", 2 * CODEC.row_bytes)
    file = opened(tmp_path)
    with pytest.raises(StoreCorrupt, match=r"holds 256 bytes, 384 are needed for 3 rows"):
        file.matrix(3)
    file.close()


@pytest.mark.parametrize("lost", ["v.bin", "v.crc"])
def test_a_lost_file_is_corrupt(tmp_path: Path, lost: str) -> None:
    """Opening what should exist does not make it anew, and holds no file open."""
    opened(tmp_path, create=True).close()
    (tmp_path / lost).unlink()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(StoreCorrupt, match=lost):
        opened(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, StoreUnavailable)]
)
def test_a_failing_write_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: type[Exception]
) -> None:
    """No room is StorageFull, after which the next write may work; anything else is StoreUnavailable."""
    file = opened(tmp_path, create=True)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(error):
        file.write(0, rows(2))
    monkeypatch.undo()
    file.write(0, rows(2))
    assert file.damaged(0, 2) == []
    file.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_every_failed_fsync_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Even for want of room: the kernel may have dropped pages it now believes clean."""
    file = opened(tmp_path, create=True)

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreUnavailable, match="syncing"):
        file.write(0, rows(2))
    file.close()


def test_a_nearly_full_disk_takes_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room to grow ahead, exactly the rows that are written are allocated, at the end of the file."""
    size = CODEC.row_bytes
    asked: list[tuple[int, int]] = []
    real = os.posix_fallocate

    def scarce(descriptor: int, start: int, length: int) -> None:
        asked.append((start, length))
        if length > 2 * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, start, length)

    monkeypatch.setattr(os, "posix_fallocate", scarce)
    file = opened(tmp_path, create=True)
    file.write(0, rows(2))
    file.write(2, rows(1, seed=1))
    with pytest.raises(StorageFull):
        file.write(3, rows(3, seed=2))
    assert file.matrix(3).tobytes() == rows(2).tobytes() + rows(1, seed=1).tobytes()
    assert [start for start, _ in asked] == [0, 0, 2 * size, 2 * size, 3 * size, 3 * size]
    file.close()


def test_no_memory_for_the_mapping_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no failure of the disk: what was written before can be read, and the next write may go through."""
    file = opened(tmp_path, create=True)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    file.write(0, rows(10))
    with monkeypatch.context() as fault:
        fault.setattr("mmap.mmap", full)
        with pytest.raises(MemoryError, match="no memory left to map"):
            file.matrix(10)
    assert (file.matrix(10) == rows(10)).all()
    file.close()

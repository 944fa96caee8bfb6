"""What of a memory map is resident, and asking for the rest of it."""

import mmap
import os
import time
from pathlib import Path

import numpy as np
import pytest

from index.paging import cold_rows, prefetch_rows

ROWS, ROW_BYTES = 256, 2 * mmap.PAGESIZE
WANTED = np.arange(3, ROWS, 8)


@pytest.fixture
def dropped(tmp_path: Path) -> np.ndarray:
    """A mapped (256, 8192) matrix with nothing of it in the page cache."""
    path = tmp_path / "rows"
    path.write_bytes(bytes(ROWS * ROW_BYTES))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    mapping.madvise(mmap.MADV_RANDOM)
    matrix = np.frombuffer(mapping, dtype=np.uint8).reshape(ROWS, ROW_BYTES)
    if cold_rows(matrix, np.arange(ROWS)) != ROWS:
        pytest.skip(f"the file system of {tmp_path} keeps all pages in memory, or does not tell of them")
    return matrix


def test_cold_rows_are_read_and_no_others(dropped: np.ndarray) -> None:
    """After the call the kernel reads these rows; their neighbours stay on the disk."""
    prefetch_rows(dropped, WANTED)
    end = time.monotonic() + 10
    while cold_rows(dropped, WANTED) and time.monotonic() < end:
        time.sleep(0.01)
    assert cold_rows(dropped, WANTED) == 0
    assert cold_rows(dropped, np.arange(ROWS)) == ROWS - len(WANTED)


def test_a_few_cold_rows_among_resident_ones_are_found(dropped: np.ndarray) -> None:
    """The sample is spread over the shortlist: a cold half of it is noticed, wherever it stands."""
    dropped[WANTED[: len(WANTED) // 2]].sum()
    prefetch_rows(dropped, WANTED)
    end = time.monotonic() + 10
    while cold_rows(dropped, WANTED) and time.monotonic() < end:
        time.sleep(0.01)
    assert cold_rows(dropped, WANTED) == 0

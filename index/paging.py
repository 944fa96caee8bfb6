"""What the kernel is told about the memory map, and asked of it.

The mapping is advised random, so that a row costs its own pages and no read-ahead. Rows that are about to be
read are therefore asked for in one go when they may be cold: 500 cold rows took 20 ms instead of 100, but the
calls cost 1.7 us a row when everything is resident, hence the sample. It is small, for each of its rows costs 2.5 us:
where a fifth of the rows are cold four of them miss that twice in five searches, which then wait for each row apart.
"""

import ctypes
import mmap

import numpy as np

SAMPLE = 4  # rows looked at, at most, before the rest is believed to be resident
FEWEST = 8  # rows that one of the sample stands for, at least
MADV_WILLNEED = 3
_libc = ctypes.CDLL(None, use_errno=True)
# keeps the interpreter: to get it back under load takes longer than the call itself
_mincore = ctypes.PyDLL(None).mincore
_mincore.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_ubyte)


def prefetch_rows(matrix: np.ndarray, rows: np.ndarray) -> None:
    """Have the kernel read the given rows of a mapped (n, row_bytes) matrix, unless they seem resident."""
    if len(rows) == 0 or _seem_resident(matrix, rows):
        return
    base, row_bytes = matrix.ctypes.data, matrix.strides[0]
    for row in rows.tolist():
        _advise(base + row * row_bytes, row_bytes)


def prefetch_range(matrix: np.ndarray, start: int, stop: int) -> None:
    """Have the kernel read rows start .. stop-1 in one go, for a scan."""
    row_bytes = matrix.strides[0]
    _advise(matrix.ctypes.data + start * row_bytes, (stop - start) * row_bytes)


def cold_rows(matrix: np.ndarray, rows: np.ndarray) -> int | None:
    """How many of the rows of a mapped (n, row_bytes) matrix have a page that is not in memory.

    None when the kernel does not tell. Asks for all pages from the first of the rows to the last in one call.
    """
    if len(rows) == 0:
        return 0
    starts = matrix.ctypes.data + rows.astype(np.int64) * matrix.strides[0]
    firsts, lasts = starts // mmap.PAGESIZE, (starts + matrix.strides[0] - 1) // mmap.PAGESIZE
    first = int(firsts.min())
    pages = np.zeros(int(lasts.max()) - first + 1, dtype=np.uint8)
    told = _libc.mincore(
        ctypes.c_void_p(first * mmap.PAGESIZE),
        ctypes.c_size_t(len(pages) * mmap.PAGESIZE),
        pages.ctypes.data_as(ctypes.c_void_p),
    )
    if told != 0:
        return None
    missing = np.concatenate(([0], np.cumsum(pages & 1 == 0)))
    return int(np.count_nonzero(missing[lasts - first + 1] > missing[firsts - first]))


def _seem_resident(matrix: np.ndarray, rows: np.ndarray) -> bool:
    base, row_bytes = matrix.ctypes.data, matrix.strides[0]
    sample = rows[:: max(FEWEST, -(-len(rows) // SAMPLE))].tolist()
    return all(_resident(base + row * row_bytes) for row in sample)


def _resident(address: int) -> bool:
    page = ctypes.c_ubyte()
    if _mincore(address & -mmap.PAGESIZE, 1, page) != 0:
        return True  # not a mapping of ours, such as an array in a test: there is nothing to prefetch
    return bool(page.value & 1)


def _advise(address: int, size: int) -> None:
    start = address & ~(mmap.PAGESIZE - 1)
    _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(address + size - start), MADV_WILLNEED)

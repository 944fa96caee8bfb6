"""What is read is checked: vectors against their checksums, scores against what unit vectors can have."""

from collections.abc import Sequence

import numpy as np

from index import bits
from index.errors import StoreCorrupt
from index.seal import REPAIR
from index.vectors import row_checksum, row_checksums
from index.view import View

BOUND = 1.01  # of an inner product of unit vectors, by the lossiest codec
NAMED = 5  # rows named in a message


def check_vectors(matrix: np.ndarray, checksums: np.ndarray, rows: Sequence[int]) -> None:
    """Raise StoreCorrupt unless these rows of a mapped (n, row_bytes) matrix match their (n,) checksums."""
    expected = checksums[np.array(rows, dtype=np.int64)].tolist()
    pairs = zip(rows, expected, strict=True)
    if wrong := [row for row, checksum in pairs if row_checksum(matrix[row], row) != checksum]:
        raise damaged("vectors do not match their checksums", wrong)


def check_scores(rows: np.ndarray, scores: np.ndarray) -> None:
    """StoreCorrupt unless (n,) or (q, n) scores are those of unit vectors: a flipped exponent makes any number."""
    if scores.size and not np.abs(scores).max() <= BOUND:  # NaN is neither
        wrong = ~(np.abs(scores) <= BOUND).reshape(-1, len(rows)).all(axis=0)
        raise damaged("vectors have scores that no unit vector has", rows[wrong].tolist())


def read_block(view: View, start: int, stop: int) -> np.ndarray:
    """Full vectors (n, dim) float32 of rows [start, stop); StoreCorrupt when a live one is damaged.

    Damaged dead ones come as zeros: nobody finds them, but their bytes must not get into a graph.
    """
    raw = view.matrix[start:stop]
    wrong = row_checksums(raw, start) != view.checksums[start:stop]
    if not wrong.any():
        return view.codec.decode(raw)
    alive = bits.between(view.live, start, stop)
    if (wrong & alive).any():
        raise damaged("vectors do not match their checksums", (start + np.flatnonzero(wrong & alive)).tolist())
    return np.where(wrong[:, None], np.float32(0), view.codec.decode(raw))


def damaged(what: str, rows: Sequence[int]) -> StoreCorrupt:
    """The error that names the rows."""
    return StoreCorrupt(f"{what}, in rows {some(rows)}; {REPAIR}")


def some(rows: Sequence[int]) -> str:
    """The first rows by number, and how many more there are."""
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return ", ".join(str(row) for row in rows[:NAMED]) + more

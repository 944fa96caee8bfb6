"""Older rows made from the vectors as they are read, of codes that a sample of them has trained: the prefixes of all
rows as floats would take many times the room of the result."""

from collections.abc import Iterable

import numpy as np

from index.coding import make_older
from index.integrity import check_vectors
from index.lists import sampled
from index.older import Older
from index.sampling import blocks, drawn
from index.view import View

BLOCK = 4_096  # rows read at a time


def trained(view: View, codes: str, rows: int) -> Older:
    """Codes of no rows for the first `rows` of the view, trained on prefixes of live ones. Raises StoreCorrupt."""
    return make_older(_training(view, rows), codes, rows)


def fill(older: Older, blocks: Iterable[np.ndarray]) -> None:
    """Add blocks of (n, prefix_dim) float32 prefixes, many at a time: in lists, a few rows cost what many do."""
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= older.add_slice:
            older.add(np.concatenate(waiting))
            waiting.clear()
    if waiting:
        older.add(np.concatenate(waiting))


def _training(view: View, rows: int) -> np.ndarray:
    """(n, prefix_dim) float32 prefixes of rows drawn at random."""
    chosen = drawn(view, max(1, sampled(rows)), stop=rows)
    made = np.empty((len(chosen), view.space.prefix_dim), dtype=np.float32)
    for start in range(0, len(chosen), BLOCK):
        part = chosen[start : start + BLOCK]
        check_vectors(view.matrix, view.checksums, part.tolist())
        full = next(blocks(view, part, len(part)))
        made[start : start + BLOCK] = view.prefixes(full)
    return made

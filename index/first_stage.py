"""The first stage over one view: the best prefixes among the rows that a filter lets pass."""

import math

import numpy as np

from index.allowed import Allowed
from index.shortlist import SCAN_RATIO
from index.view import View

# A graph that may return a share s of its rows has to look at keep / s of them, about 1.8 us each; gathering
# and scoring a row of the subset takes about 30 ns. So scanning m rows is cheaper while m^2 < 60 keep rows.


def first_stage(
    view: View, prefix: np.ndarray, keep: int, allowed: Allowed | None, depth: float = 1.0
) -> tuple[np.ndarray, np.ndarray, str]:
    """Rows (int64) and inner products (float32) of the best `keep` prefixes, best first, and how the filter was met.

    `prefix` is any (prefix_dim,) float32 direction. `depth` is the graph's efSearch as a multiple of what is kept.
    """
    shortlist = view.shortlist
    matching = allowed.count if allowed else view.rows
    if keep >= matching:
        rows = allowed.positions if allowed else np.arange(view.rows)
        return (*shortlist.scan(prefix, keep, rows), "exact_subset" if allowed else "none")
    if allowed is None:
        return (*shortlist.search(prefix, keep, math.ceil(depth * keep), None), "none")
    if _masks(view, allowed.count):
        return (*shortlist.search(prefix, keep, keep, allowed.packed), "exact_subset")
    if not shortlist.exhaustive and allowed.count**2 > SCAN_RATIO * keep * view.rows:
        looked_at = math.ceil(depth * keep * view.rows / allowed.count)
        rows, scores = shortlist.search(prefix, keep, looked_at, allowed.packed)
        if len(rows) == keep:
            return rows, scores, "in_graph"
    return (*shortlist.scan(prefix, keep, allowed.positions), "exact_subset")


def compared(view: View, keep: int, allowed: Allowed | None, strategy: str) -> int | None:
    """How many prefixes such a first stage compared, `strategy` being its answer; None where a graph chose them."""
    matching = allowed.count if allowed else view.rows
    if keep >= matching:
        return matching
    if not view.shortlist.exhaustive:
        return matching if strategy == "exact_subset" else None
    return view.rows if _masks(view, matching) else matching


def _masks(view: View, matching: int) -> bool:
    """Whether all rows are compared and those that do not match left out: better than gathering a large part of them,
    and all that packed codes can do."""
    return view.shortlist.packed or (view.shortlist.older is None and matching > view.rows // 3)

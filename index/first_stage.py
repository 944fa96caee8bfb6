"""The first stage over one view: the best prefixes among the rows that a filter lets pass."""

import numpy as np

from index.allowed import Allowed
from index.view import View


def first_stage(
    view: View, prefix: np.ndarray, keep: int, allowed: Allowed | None, depth: float = 1.0
) -> tuple[np.ndarray, np.ndarray, str]:
    """Rows (int64) and inner products (float32) of the best `keep` prefixes, best first, and how the filter was met.

    `prefix` is any (prefix_dim,) float32 direction. `depth` is how deep a graph or lists are looked into, as a
    multiple of what they would choose.
    """
    shortlist, older = view.shortlist, view.shortlist.older
    matching = allowed.count if allowed else view.rows
    if keep >= matching:
        rows = allowed.positions if allowed else np.arange(view.rows)
        return (*shortlist.scan(prefix, keep, rows), "exact_subset" if allowed else "none")
    if older is None or older.exhaustive:
        if allowed is None or _masks(view, matching):
            packed = allowed.packed if allowed else None
            return (*shortlist.search(prefix, keep, keep, packed), "exact_subset" if allowed else "none")
    elif allowed is None:
        return (*shortlist.search(prefix, keep, older.depth(keep, depth, matching, view.rows), None), "none")
    elif not older.better_scanned(keep, matching, view.rows):
        looked_at = older.depth(keep, depth, matching, view.rows)
        rows, scores = shortlist.search(prefix, keep, looked_at, allowed.packed)
        if len(rows) == keep:
            return rows, scores, "in_graph"
    assert allowed is not None
    return (*shortlist.scan(prefix, keep, allowed.positions), "exact_subset")


def compared(view: View, keep: int, allowed: Allowed | None, strategy: str) -> int | None:
    """How many prefixes such a first stage compared, `strategy` being its answer; None where others chose them."""
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

"""The narrowing: prefix shortlist, middle stages, rerank at full width, over one view."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from index.allowed import Allowed
from index.exact import TIE, exact, with_ties
from index.plan import Plan
from index.rerank import rerank, rerank_prefix
from index.view import View

# A graph that may return a share s of its rows has to look at keep / s of them, about 1.8 us each; gathering
# and scoring a row of the subset takes about 30 ns. So scanning m rows is cheaper while m^2 < 60 keep rows.
SCAN_RATIO = 60


@dataclass(frozen=True)
class Ranking:
    """What the funnel found for one query vector.

    `rows` and `scores` are best first and include rows that tie with the last one wanted. `shortlist_rows` and
    `shortlist_scores` are the first stage in its own order. `strategy` is how the first stage met the filter.
    """

    rows: np.ndarray
    scores: np.ndarray
    strategy: str
    exact: bool
    shortlist_rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    shortlist_scores: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    reranked: int | None = None  # set when the deadline cut a middle stage or the rerank short
    timing_ms: dict[str, float] = field(default_factory=dict)


def search(
    view: View, queries: np.ndarray, plan: Plan, allowed: Allowed | None, deadline: float | None = None
) -> list[Ranking]:
    """Rankings of the (q, dim) unit queries; `allowed` is None when every row is live and nothing filters."""
    if plan.exact:
        return _exact(view, queries, plan, allowed, deadline)
    return [_narrow(view, query, plan, allowed, deadline) for query in queries]


def _exact(
    view: View, queries: np.ndarray, plan: Plan, allowed: Allowed | None, deadline: float | None
) -> list[Ranking]:
    started = time.perf_counter()
    found = exact(view, queries, plan.wanted, allowed.mask() if allowed else None, deadline)
    timing = {"shortlist": 0.0, "rerank": _ms(started)}
    return [Ranking(rows, scores, "exact_subset", True, timing_ms=timing) for rows, scores in found]


def _narrow(view: View, query: np.ndarray, plan: Plan, allowed: Allowed | None, deadline: float | None) -> Ranking:
    started = time.perf_counter()
    prefix = view.prefixes(query[None])[0]
    rows, prefix_scores, strategy = _first_stage(view, prefix, plan.shortlist, allowed)
    narrowed = time.perf_counter()
    timing = {"shortlist": (narrowed - started) * 1e3, "rerank": 0.0}
    if not plan.rescore:
        top = with_ties(rows, prefix_scores, plan.wanted)
        return Ranking(*top, strategy, False, rows, prefix_scores, timing_ms=timing)
    kept, in_time = rows, True
    for dims, keep in plan.stages[1:-1]:
        scores = rerank_prefix(view, query, kept, dims, plan.wanted, deadline)
        in_time = in_time and len(scores) == len(kept)
        kept = with_ties(kept[: len(scores)], scores, keep)[0][:keep]
    scores = rerank(view, query, kept, plan.wanted, deadline)
    timing["rerank"] = _ms(narrowed)
    matching = allowed.count if allowed else view.rows
    complete = in_time and len(scores) == len(kept)
    return Ranking(
        *with_ties(kept[: len(scores)], scores, plan.wanted),
        strategy,
        exact=complete and len(kept) == matching,
        shortlist_rows=rows,
        shortlist_scores=prefix_scores,
        reranked=None if complete else len(scores),
        timing_ms=timing,
    )


def _first_stage(
    view: View, prefix: np.ndarray, keep: int, allowed: Allowed | None
) -> tuple[np.ndarray, np.ndarray, str]:
    shortlist = view.shortlist
    matching = allowed.count if allowed else view.rows
    if keep >= matching:
        rows = allowed.positions if allowed else np.arange(view.rows)
        return (*shortlist.scan(prefix, keep, rows), "exact_subset" if allowed else "none")
    if allowed is None:
        return (*shortlist.search(prefix, keep, keep, None), "none")
    if shortlist.graph is None and allowed.count > view.rows // 3:  # masking beats gathering
        return (*shortlist.search(prefix, keep, keep, allowed.packed), "exact_subset")
    if shortlist.graph is not None and allowed.count**2 > SCAN_RATIO * keep * view.rows:
        depth = math.ceil(keep * view.rows / allowed.count)
        rows, scores = shortlist.search(prefix, keep, depth, allowed.packed)
        if len(rows) == keep:
            return rows, scores, "in_graph"
    return (*shortlist.scan(prefix, keep, allowed.positions), "exact_subset")


def prefix_places(view: View, query: np.ndarray, rows: np.ndarray, allowed: Allowed | None) -> list[tuple[int, float]]:
    """(rank from 1, score) of each row in the prefix order of all allowed rows, by a full scan."""
    prefix = view.prefixes(query[None])[0]
    everything = np.arange(view.rows) if allowed is None else allowed.positions
    mine = view.shortlist.scores(prefix, np.sort(rows))[np.argsort(np.argsort(rows))]
    ahead = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(everything), 65_536):
        scores = view.shortlist.scores(prefix, everything[start : start + 65_536])
        ahead += len(scores) - np.searchsorted(np.sort(scores), mine + np.float32(TIE), side="right")
    return [(int(rank) + 1, float(score)) for rank, score in zip(ahead, mine, strict=True)]


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1e3

"""The narrowing: prefix shortlist, middle stages, rerank at full width, over one view."""

import time

import numpy as np

from index import certificate
from index.allowed import Allowed
from index.calibration import Calibration, Rule
from index.descent import signs
from index.estimate import Estimate, Worth
from index.exact import TIE, exact, with_ties
from index.explaining import Work
from index.first_stage import compared, first_stage
from index.paging import cold_rows
from index.plan import Plan
from index.ranking import Ranking
from index.rerank import rerank, rerank_prefix
from index.targeting import descend
from index.view import View


def search(
    view: View,
    queries: np.ndarray,
    plan: Plan,
    allowed: Allowed | None,
    deadline: float | None = None,
    calibration: Calibration | None = None,
    rule: Rule | None = None,
) -> list[Ranking]:
    """Rankings of the (q, dim) unit queries; `allowed` is None when every row is live and nothing filters.

    Plan and rule are those of `targeting.resolved`.
    """
    if plan.exact:
        return _exact(view, queries, plan, allowed, deadline)
    if rule is not None:
        return [descend(view, query, plan, rule, allowed, deadline) for query in queries]
    return [_narrow(view, query, plan, allowed, deadline, calibration) for query in queries]


def _exact(
    view: View, queries: np.ndarray, plan: Plan, allowed: Allowed | None, deadline: float | None
) -> list[Ranking]:
    started = time.perf_counter()
    work = _scan_work(view, allowed) if plan.explain else None
    found = exact(view, queries, plan.wanted, allowed.mask() if allowed else None, deadline)
    timing, last = {"shortlist": 0.0, "rerank": _ms(started)}, (plan.stages[-1],)
    return [
        Ranking(*top, "exact_subset", True, last, estimate=(1.0, 1.0), certified=True, timing_ms=timing, work=work)
        for top in found
    ]


def _scan_work(view: View, allowed: Allowed | None) -> Work:
    rows = allowed.positions if allowed else np.arange(view.rows)
    return Work(candidates=None, full=len(rows), cold=cold_rows(view.matrix, rows))


def _narrow(
    view: View,
    query: np.ndarray,
    plan: Plan,
    allowed: Allowed | None,
    deadline: float | None,
    calibration: Calibration | None,
) -> Ranking:
    started = time.perf_counter()
    prefix, norm = view.prefix(query)
    depth = 1.0 if calibration is None else calibration.depth  # what its estimates were learned at
    rows, prefix_scores, strategy = first_stage(view, prefix, plan.shortlist, allowed, depth)
    narrowed = time.perf_counter()
    timing = {"shortlist": (narrowed - started) * 1e3, "rerank": 0.0}
    work = _funnel_work(view, plan, allowed, rows, strategy) if plan.explain else None
    if not plan.rescore:
        top = with_ties(rows, prefix_scores, plan.wanted)
        return Ranking(*top, strategy, False, plan.stages, rows, prefix_scores, timing_ms=timing, work=work)
    kept, in_time = _middle(view, query, plan, rows, deadline, work)
    scores = rerank(view, query, kept, plan.wanted, deadline)
    timing["rerank"] = _ms(narrowed)
    if work is not None:
        work.full = len(scores)
    matching = allowed.count if allowed else view.rows
    complete = in_time and len(scores) == len(kept)
    covered = complete and len(kept) == matching
    top = with_ties(kept[: len(scores)], scores, plan.wanted)
    whole = complete and len(kept) == len(rows) >= plan.wanted
    proved = covered or (
        whole and certificate.proves(view, norm, strategy, float(top[1][plan.wanted - 1]), float(prefix_scores[-1]))
    )
    estimate: Estimate | None = (1.0, 1.0) if proved else None
    used = None
    if whole and not proved and calibration is not None:
        estimate = _estimate(plan.wanted, norm * prefix_scores, scores, matching, calibration)
        used = calibration.calibration_id if estimate else None
    return Ranking(
        *top,
        strategy,
        exact=covered,
        stages=plan.stages,
        shortlist_rows=rows,
        shortlist_scores=prefix_scores,
        reranked=None if complete else len(scores),
        estimate=estimate,
        certified=proved,
        calibration_id=used,
        timing_ms=timing,
        work=work,
    )


def _funnel_work(view: View, plan: Plan, allowed: Allowed | None, rows: np.ndarray, strategy: str) -> Work:
    work = Work(candidates=len(rows), prefix=compared(view, plan.shortlist, allowed, strategy))
    if plan.rescore:
        work.reads(view, rows)
    return work


def _middle(
    view: View, query: np.ndarray, plan: Plan, rows: np.ndarray, deadline: float | None, work: Work | None
) -> tuple[np.ndarray, bool]:
    """The rows that the middle stages keep, and whether all of it was done in time."""
    in_time = True
    for dims, keep in plan.stages[1:-1]:
        scores = rerank_prefix(view, query, rows, dims, plan.wanted, deadline)
        in_time = in_time and len(scores) == len(rows)
        rows = with_ties(rows[: len(scores)], scores, keep)[0][:keep]
        if work is not None:
            work.middle += len(scores)
    return rows, in_time


def _estimate(
    wanted: int, order: np.ndarray, scores: np.ndarray, matching: int, calibration: Calibration
) -> Estimate | None:
    """What a shortlist of given length is worth; None for an unknown k.

    `order` are the inner products that rows of these full scores were chosen by.
    """
    bucket = calibration.bucket(wanted)
    if bucket is None or len(scores) < 2:
        return None

    def worth() -> Worth:
        told = signs(scores, order, order[-1], matching, wanted)
        return calibration.worth(bucket, matching, float(bucket.plain_model.log_missing(told)))

    return worth


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

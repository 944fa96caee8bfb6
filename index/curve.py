"""Recall and time of ways to search, measured on queries whose exact answers are looked up once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import faiss
import numpy as np

from index.allowed import Allowed
from index.calibrating import Asked
from index.calibration import Calibration
from index.exact import TIE, exact
from index.first_stage import first_stage
from index.funnel import search
from index.interval import Interval, interval
from index.plan import Plan, Stage
from index.progress import Progress
from index.ranking import Ranking
from index.rerank import rerank
from index.targeting import resolved
from index.view import View

LADDER = (50, 100, 200, 400, 800, 1_600, 3_200)
CASCADED = 4  # times the prefix, and one candidate in so many: the middle stage of the cascades that are measured
AT_ONCE = 16  # queries of one exact scan: a block of it then takes some milliseconds
TIMED, TIMED_EXACT = 100, 10  # queries whose searches are timed, and whose scans are
SEARCHED = 400  # queries that are searched by each plan of which nothing can be read off another's search
PERCENTILE = 95


@dataclass(frozen=True)
class Point:
    """What one way to search brought: recall@k over the queries, and milliseconds of first stage and rerank.

    `rows` is the mean number of rows whose full vector was compared, `exact` the share of exact answers.
    """

    plan: Plan
    queries: int
    recall: Interval
    rows: float
    exact: float
    ms_median: float
    ms_p95: float


@dataclass(frozen=True)
class Found:
    """Of one query: how many of its k true results were found, of how many, by comparing how many rows."""

    found: int
    of: int
    rows: int
    exact: bool = False

    @property
    def recall(self) -> float:
        """1 where there was nothing to find."""
        return self.found / self.of if self.of else 1.0


def ladder(k: int, count: int) -> tuple[int, ...]:
    """The lengths of shortlists that are measured: at least k, and leaving something out of `count` rows."""
    return tuple(length for length in LADDER if k <= length < count)


def cascades(k: int, count: int, prefix: int, dim: int) -> tuple[tuple[Stage, ...], ...]:
    """For every length of the ladder the middle stage of four times the prefix that keeps a quarter."""
    if CASCADED * prefix >= dim:
        return ()
    lengths = [length for length in ladder(k, count) if length // CASCADED >= k]
    return tuple(((prefix, length), (CASCADED * prefix, length // CASCADED)) for length in lengths)


class Curve:
    """Measures plans over one view. Shortlists of an exact first stage contain each other: one pass serves them all.

    Every query that is a stored document leaves itself out. `progress` gets (steps done, steps) between two pieces of
    work of a few milliseconds; it may wait, and what it raises ends the work.
    """

    def __init__(
        self, view: View, asked: Asked, k: int, allowed: Allowed | None, calibration: Calibration | None = None
    ) -> None:
        """`allowed` are the rows that may be found, None for all."""
        self._view, self._asked, self._k = view, asked, k
        self._allowed, self._calibration = allowed, calibration
        self._truth: list[tuple[float, int]] = []  # the lowest score of the true results, and their number

    def look_up(self, progress: Progress) -> None:
        """The exact answers of all queries."""
        faiss.omp_set_num_threads(1)  # of this thread, as in searches: the other cores answer them
        mask = self._allowed.mask() if self._allowed else None
        vectors = self._asked.vectors
        for start in range(0, len(vectors), AT_ONCE):
            part = vectors[start : start + AT_ONCE]
            answers = exact(
                self._view, part, self._k + 1, mask, progress=lambda *_, at=start: progress(at, len(vectors))
            )
            for place, (rows, scores) in enumerate(answers, start):
                kept = scores[rows != self._asked.own(place)][: self._k]
                self._truth.append((float(kept[-1]) if len(kept) else 0.0, len(kept)))
            progress(start + len(part), len(vectors))

    def points(self, plans: Sequence[Plan], progress: Progress) -> list[Point]:
        """A point for each plan, in their order; after `look_up`."""
        nested = [plan for plan in plans if self._nests(plan)]
        faiss.omp_set_num_threads(1)
        alone = sum(not plan.exact and plan not in nested for plan in plans) * len(self._searched)
        once = len(self._asked.vectors) if nested else 0
        steps = _Steps(progress, once + alone + sum(len(self._timed(plan)) for plan in plans))
        found = self._nested(nested, steps) if nested else {}
        return [self._point(plan, found.get(plan) or self._each(plan, steps), steps) for plan in plans]

    def _nests(self, plan: Plan) -> bool:
        """Whether its recall can be read off a longer shortlist."""
        single = plan.target is None and not plan.exact and len(plan.stages) == 2
        return single and self._view.shortlist.older is None

    def _point(self, plan: Plan, found: Sequence[Found], steps: "_Steps") -> Point:
        median, slow = np.percentile(self._times(plan, steps), (50, PERCENTILE))
        recalls = np.array([one.recall for one in found])
        rows, share = np.mean([one.rows for one in found]), np.mean([one.exact for one in found])
        return Point(plan, len(found), interval(recalls), float(rows), float(share), float(median), float(slow))

    def _nested(self, plans: Sequence[Plan], steps: "_Steps") -> dict[Plan, list[Found]]:
        """What plans of one shortlist each found, all from the longest of them."""
        lengths = sorted({plan.shortlist for plan in plans})
        found: dict[int, list[Found]] = {length: [] for length in lengths}
        for place, query in enumerate(self._asked.vectors):
            prefix = self._view.prefixes(query[None])[0]
            rows, _, _ = first_stage(self._view, prefix, lengths[-1], self._less(place))
            scores = rerank(self._view, query, rows, 1, None)
            for length in lengths:
                found[length].append(self._counted(place, scores[:length], min(length, len(rows))))
            steps.one()
        return {plan: found[plan.shortlist] for plan in plans}

    def _each(self, plan: Plan, steps: "_Steps") -> list[Found]:
        if plan.exact:
            return [Found(of, of, self._matching, exact=True) for _, of in self._truth]
        found = []
        for place, query in enumerate(self._searched):
            ranking = self._search(query, plan, self._less(place))
            found.append(replace(self._counted(place, ranking.scores, self._compared(ranking)), exact=ranking.exact))
            steps.one()
        return found

    def _times(self, plan: Plan, steps: "_Steps") -> list[float]:
        """Milliseconds of the first queries, searched as anybody's would be."""
        times = []
        for query in self._timed(plan):
            started = time.perf_counter()
            self._search(query, plan, self._allowed)
            times.append((time.perf_counter() - started) * 1e3)
            steps.one()
        return times

    def _search(self, query: np.ndarray, plan: Plan, allowed: Allowed | None) -> Ranking:
        """As anybody's search, with this calibration."""
        chosen, rule = resolved(plan, self._calibration, allowed.count if allowed else self._view.rows)
        return search(self._view, query[None], chosen, allowed, None, self._calibration, rule)[0]

    @property
    def _searched(self) -> np.ndarray:
        return self._asked.vectors[:SEARCHED]

    def _timed(self, plan: Plan) -> np.ndarray:
        return self._asked.vectors[: TIMED_EXACT if plan.exact else TIMED]

    def _counted(self, place: int, scores: np.ndarray, rows: int) -> Found:
        least, of = self._truth[place]
        return Found(min(of, int(np.count_nonzero(scores >= least - TIE))), of, rows)

    def _compared(self, ranking: Ranking) -> int:
        """Rows whose full vector was compared."""
        return self._matching if len(ranking.stages) < 2 else min(ranking.stages[-2][1], self._matching)

    @property
    def _matching(self) -> int:
        return self._allowed.count if self._allowed else self._view.count

    def _less(self, place: int) -> Allowed | None:
        return self._asked.less(place, self._view, self._allowed)


class _Steps:
    """Counts steps and tells of them."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def one(self) -> None:
        """One more is done."""
        self._done += 1
        self._progress(self._done, self._total)

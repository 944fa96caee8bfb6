"""One query's way down the prefix order: rows are reranked in stretches until there are enough of them.

After a stretch the shortlist is described by a few signs (`Descent.signs`), from which `index.stopping` estimates
what is still missing.

The prefix of a query cannot know its tail. But the full scores of the rows that were reranked tell which directions
of the prefix space go with high scores near this query: after 64, 256, 1,024, ... rows a ridge regression of full
scores on prefixes, shrunk towards the query's own prefix, gives a corrected prefix, and the first stage goes on with
that. It only changes the order in which rows are looked at, never a score. A third fewer rows are read for it, but it
costs as much time as reading a thousand rows in memory: it is for vectors that have to be read from the disk.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from index.allowed import Allowed
from index.explaining import Work
from index.first_stage import compared, first_stage
from index.rerank import rerank
from index.view import View

FIRST = 8  # rows of the shortest stretch
DENSE_FROM = 64  # rows from which there is a stop between two doublings
CORRECTED_FROM = 64  # rows scored when the order is corrected for the first time, then at every fourfold
CORRECTED_AGAIN = 4
RIDGE = 4.0  # in units of a unit prefix's square: what so many rows in one direction would weigh
KEPT = 64  # rows that the first stage is asked for, at least
AHEAD = 2  # times those that are wanted are kept by a scan, which costs hardly more and seldom has to be repeated
LEAST_VARIANCE = 1e-6  # of a residual, about the rounding of bfloat16 rows
SLOPES = 0.1, 2.0  # of full scores over prefix scores: what lies outside is noise
SIGNS = (
    "margin",  # (k-th score - what the next row is expected to score) / spread of the residuals
    "log_rows",  # log of the rows scored
    "log_left",  # log(rows that match / rows scored)
    "log_spread",  # log of the spread of the residuals
    "lead",  # (best - k-th score) / spread
    "last",  # place of the last of the top k in the order, over the rows scored
    "late",  # share of the top k in the second half of the order
    "half_margin",  # (k-th score - best score of the second half) / spread
    "tail_spread",  # spread of the second half's residuals / spread
    "tail_shift",  # mean of the second half's residuals / spread
)


def lengths(most: int) -> Iterator[int]:
    """8, 16, 32, 64, 96, 128, 192, 256, ... and `most`: where a descent may stop."""
    length = FIRST
    while length < most:
        yield length
        if length >= DENSE_FROM and length * 3 // 2 < most:
            yield length * 3 // 2
        length *= 2
    yield most


def signs(scores: np.ndarray, order: np.ndarray, best_left: float, matching: int, k: int) -> np.ndarray:
    """(10,) float64 `SIGNS` of n >= 2 rows that were looked at in this order.

    `scores` are their full scores and `order` the inner products they were ordered by, both (n,) float32;
    `best_left` is that of the row that comes next, `matching` the number of rows there are.
    """
    signed: np.ndarray = signs_of_each(scores, order, best_left, matching, (k,))[0]
    return signed


def signs_of_each(
    scores: np.ndarray, order: np.ndarray, best_left: float, matching: int, ks: Sequence[int]
) -> np.ndarray:
    """(b, 10) float64: the same for b values of k, of which most is computed once."""
    count, half = len(scores), len(scores) // 2
    centre, middle = float(np.add.reduce(scores)) / count, float(np.add.reduce(order)) / count
    offsets = order - middle
    slope = min(max(float(offsets @ scores) / max(float(offsets @ offsets), 1e-12), SLOPES[0]), SLOPES[1])
    offsets *= -slope
    offsets += scores
    residuals = offsets - centre
    spread = math.sqrt(float(residuals @ residuals) / count + LEAST_VARIANCE)
    expected, tail = centre + slope * (float(best_left) - middle), residuals[half:]
    best, best_late = float(scores.max()), float(scores[half:].max())
    every = (
        math.log(count),
        math.log(max(matching / count, 1.0)),
        math.log(spread),
        math.sqrt(float(tail @ tail) / len(tail)) / spread,
        float(np.add.reduce(tail)) / len(tail) / spread,
    )
    made = []
    for kth in _kth(scores, ks):
        places = (scores >= kth).nonzero()[0]
        late = len(places) - int(places.searchsorted(half))
        margins = (kth - expected) / spread, (best - kth) / spread, (kth - best_late) / spread
        shares = (int(places[-1]) + 1) / count, late / len(places)
        made.append((margins[0], *every[:3], margins[1], *shares, margins[2], *every[3:]))
    return np.array(made)


def _kth(scores: np.ndarray, ks: Sequence[int]) -> list[float]:
    """The k-th highest score for each k."""
    places = [len(scores) - k for k in ks]
    found: list[float] = np.partition(scores, places)[places].tolist()
    return found


class Descent:
    """Rows scored so far, in the order they were looked at."""

    def __init__(
        self,
        view: View,
        query: np.ndarray,
        allowed: Allowed | None,
        depth: float = 1.0,
        corrects: bool = True,
        first: int = FIRST,
        work: Work | None = None,
    ) -> None:
        """`query` is a (dim,) unit vector; `allowed` None means every row; without `corrects` the order stays.

        `first` is how many rows are wanted at once; `work` is told what the descent costs.
        """
        self._work = work
        self._view, self._query, self._allowed, self._depth = view, query, allowed, depth
        self.matching = allowed.count if allowed else view.rows
        self._own = view.turned(query[None])[0]  # the query's prefix, not normalised
        self._order = self._own  # and as corrected
        self.norm = float(np.linalg.norm(self._own))
        self._corrects = corrects
        self._corrected_at = CORRECTED_FROM
        self._ahead = AHEAD if view.shortlist.exhaustive or view.shortlist.packed else 1
        self._scored, self._scores = 0, np.empty(0, dtype=np.float32)
        self._line, self._by = self._next(first)  # the first of them are scored

    @property
    def rows(self) -> np.ndarray:
        """(n,) int64 rows scored."""
        return self._line[: self._scored]

    @property
    def scores(self) -> np.ndarray:
        """(n,) float32 full scores of them."""
        return self._scores[: self._scored]

    @property
    def cosine_left(self) -> float | None:
        """The highest prefix cosine of a row that was not scored; None when a corrected order hides it."""
        if self._corrected_at > CORRECTED_FROM:
            return None
        return self._after(self._scored) / self.norm if self.norm else 0.0

    @property
    def exhausted(self) -> bool:
        """Whether every row that matches was scored."""
        return self._scored >= self.matching

    def extend(self, length: int) -> None:
        """Score rows until there are `length`, or all that match."""
        length = min(length, self.matching)
        while self._scored < length:
            if self._corrects and self._scored >= self._corrected_at:
                self._correct()
            if self._scored == len(self._line) and not self._refill(length):
                return
            self._score(min(length, self._corrected_at if self._corrects else length, len(self._line)))

    def signs(self, k: int) -> np.ndarray:
        """(10,) float64 `SIGNS` of the top k; k is at most the rows scored, of which there are at least two."""
        signed: np.ndarray = self.signs_of_each((k,), self._scored)[0]
        return signed

    def signs_of_each(self, ks: Sequence[int], length: int) -> np.ndarray:
        """(b, 10): of each of b values of k among the first `length` rows, by the order in force."""
        return signs_of_each(self._scores[:length], self._by[:length], self._after(length), self.matching, ks)

    def _after(self, length: int) -> float:
        """What the next row is ordered by; the last one, where there is none."""
        return float(self._by[min(length, len(self._by) - 1)])

    def _next(self, wanted: int) -> tuple[np.ndarray, np.ndarray]:
        """The best by the order in force, and one more: what comes next is a sign."""
        keep = min(max(self._ahead * wanted, KEPT) + 1, self.matching)
        rows, scores, self.strategy = first_stage(self._view, self._order, keep, self._allowed, self._depth)
        if self._work is not None:
            self._work.narrowed(compared(self._view, keep, self._allowed, self.strategy))
        return rows, scores

    def _refill(self, length: int) -> bool:
        """More rows of the order in force; False when the first stage has none that are new."""
        for wanted in (length, self.matching):
            self._go_on(*self._next(wanted))
            if len(self._line) > self._scored:
                return True
        return False

    def _go_on(self, rows: np.ndarray, scores: np.ndarray) -> None:
        """With those of the rows that are new, after what is scored."""
        new = np.isin(rows, self.rows, invert=True)
        self._line = np.concatenate((self.rows, rows[new]))
        self._by = np.concatenate((self._by[: self._scored], scores[new]))

    def _score(self, stop: int) -> None:
        """Up to that place of the line."""
        rows = self._line[self._scored : stop]
        if self._work is not None:
            self._work.reads(self._view, rows)
        if stop > len(self._scores):
            self._scores = np.concatenate((self.scores, np.empty(len(self._line) - self._scored, dtype=np.float32)))
        self._scores[self._scored : stop] = rerank(self._view, self._query, rows, len(rows), None)
        self._scored = stop

    def _correct(self) -> None:
        """Order what is left by a corrected prefix: the ridge regression of full scores on prefixes.

        w = own + argmin |y - Z (own + v)|^2 + RIDGE |v|^2 over the centred rows (Hoerl and Kennard 1970).
        """
        self._corrected_at *= CORRECTED_AGAIN
        places = np.argsort(self.rows)
        prefixes = np.empty((self._scored, len(self._own)), dtype=np.float32)
        prefixes[places] = self._view.shortlist.prefixes(self.rows[places])
        centred = prefixes - prefixes.mean(axis=0)
        left = self.scores - self.scores.mean() - centred @ self._own
        weights = centred.T @ centred
        weights[np.diag_indices_from(weights)] += RIDGE
        self._order = self._own + np.linalg.solve(weights, centred.T @ left)
        self._by = prefixes @ self._order
        if self._work is not None:
            self._work.corrections += 1
            self._work.narrowed(len(prefixes))
        self._go_on(*self._next(self._corrected_at))

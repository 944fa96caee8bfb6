"""One query's way down the prefix order: rows are reranked in chunks, and what they score corrects the order.

The prefix of a query cannot know its tail. But the full scores of the rows that were reranked tell which
directions of the prefix space go with high scores near this query: after 64, 256, 1,024, ... rows a ridge
regression of full scores on prefixes, shrunk towards the query's own prefix, gives a corrected prefix, and the
first stage goes on with that. It only changes the order in which rows are looked at, never a score.

After every chunk the shortlist is described by a few signs (`Descent.signs`), from which `index.stopping`
estimates what is still missing.
"""

import math
from collections.abc import Iterator

import numpy as np

from index.allowed import Allowed
from index.explaining import Work
from index.first_stage import compared, first_stage
from index.rerank import rerank
from index.scan import best
from index.view import View

FIRST = 8  # rows of the first chunk
DENSE_FROM = 64  # rows from which there is a stop between two doublings: a look costs as much as 200 rows in memory
CORRECTED_FROM = 64  # rows scored when the order is corrected for the first time, then at every fourfold
CORRECTED_AGAIN = 4
RIDGE = 4.0  # in units of a unit prefix's square: what so many rows in one direction would weigh
POOL = 16  # times the rows of the first stretch are kept by a scan, so that the first correction needs no other
ENOUGH = 4  # times the rows of a stretch are a pool that need not be fetched anew
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
    count, half = len(scores), len(scores) // 2
    kth = scores.max() if k == 1 else np.partition(scores, count - k)[count - k]
    centre, middle = np.add.reduce(scores) / count, np.add.reduce(order) / count
    offsets = order - middle
    slope = min(max(float(offsets @ scores) / max(float(offsets @ offsets), 1e-12), SLOPES[0]), SLOPES[1])
    residuals = scores - centre - slope * offsets
    spread = math.sqrt(float(residuals @ residuals) / count + LEAST_VARIANCE)
    expected = centre + slope * (best_left - middle)
    places = np.flatnonzero(scores >= kth)
    tail = residuals[half:]
    return np.array(
        (
            (kth - expected) / spread,
            math.log(count),
            math.log(max(matching / count, 1.0)),
            math.log(spread),
            (scores.max() - kth) / spread,
            (places[-1] + 1) / count,
            (len(places) - np.searchsorted(places, half)) / len(places),
            (kth - scores[half:].max()) / spread,
            math.sqrt(float(tail @ tail) / len(tail)) / spread,
            np.add.reduce(tail) / len(tail) / spread,
        )
    )


class Descent:
    """Rows scored so far, in the order they were looked at."""

    def __init__(
        self,
        view: View,
        query: np.ndarray,
        allowed: Allowed | None,
        depth: float = 1.0,
        corrects: bool = True,
        work: Work | None = None,
    ) -> None:
        """`query` is a (dim,) unit vector; `allowed` None means every row; without `corrects` the order stays.

        `work` is told what the descent costs.
        """
        self._work = work
        self._view, self._query, self._allowed, self._depth = view, query, allowed, depth
        self.matching = allowed.count if allowed else view.rows
        turned = view.turned(query[None])[0]
        self._own, self._order = turned, turned  # the query's prefix, not normalised, and as corrected
        self.norm = float(np.linalg.norm(turned))
        self._corrects = corrects and not view.shortlist.packed  # an order of wide codes leaves little to correct
        self._corrected_at = CORRECTED_FROM
        self.strategy = "none"
        pool = POOL if view.shortlist.exhaustive or view.shortlist.packed else 1
        self._pending, self._pending_scores = self._next(pool * CORRECTED_FROM)
        self.rows = np.empty(0, dtype=np.int64)
        self.scores = np.empty(0, dtype=np.float32)
        self._ordered_by = np.empty(0, dtype=np.float32)  # inner products with the order in force

    @property
    def cosine_left(self) -> float | None:
        """The highest prefix cosine of a row that was not scored; None when a corrected order hides it."""
        if self._corrected_at > CORRECTED_FROM and self._corrects:
            return None
        left = self._pending_scores[0] if len(self._pending) else self._ordered_by[-1]
        return float(left) / self.norm if self.norm else 0.0

    @property
    def exhausted(self) -> bool:
        """Whether every row that matches was scored."""
        return len(self.rows) >= self.matching

    def extend(self, length: int) -> None:
        """Score rows until there are `length`, or all that match."""
        length = min(length, self.matching)
        while len(self.rows) < length:
            if len(self.rows) >= self._corrected_at:
                self._correct()
            stop = min(length, max(self._corrected_at, len(self.rows) + 1))
            if len(self._pending) == 0 and not self._refill():
                return
            self._score(min(stop - len(self.rows), len(self._pending)))

    def signs(self, k: int) -> np.ndarray:
        """(10,) float64 `SIGNS` of the top k; k is at most the rows scored, of which there are at least two."""
        best_left = self._pending_scores[0] if len(self._pending) else self._ordered_by[-1]
        return signs(self.scores, self._ordered_by, best_left, self.matching, k)

    def _next(self, keep: int) -> tuple[np.ndarray, np.ndarray]:
        keep = min(keep, self.matching)
        rows, scores, self.strategy = first_stage(self._view, self._order, keep, self._allowed, self._depth)
        if self._work is not None:
            self._work.narrowed(compared(self._view, keep, self._allowed, self.strategy))
        return rows, scores

    def _refill(self) -> bool:
        """More rows of the order in force; False when the first stage has none that are new."""
        for keep in (2 * len(self.rows) + CORRECTED_FROM, self.matching):
            self._take_new(*self._next(keep))
            if len(self._pending):
                return True
        return False

    def _take_new(self, rows: np.ndarray, scores: np.ndarray) -> None:
        new = np.isin(rows, self.rows, invert=True)
        self._pending, self._pending_scores = rows[new], scores[new]

    def _score(self, number: int) -> None:
        rows = self._pending[:number]
        if self._work is not None:
            self._work.reads(self._view, rows)
        self.rows = np.concatenate((self.rows, rows))
        self.scores = np.concatenate((self.scores, rerank(self._view, self._query, rows, number, None)))
        self._ordered_by = np.concatenate((self._ordered_by, self._pending_scores[:number]))
        self._pending, self._pending_scores = self._pending[number:], self._pending_scores[number:]

    def _correct(self) -> None:
        """Order what is left by a corrected prefix: the ridge regression of full scores on prefixes.

        w = own + argmin |y - Z (own + v)|^2 + RIDGE |v|^2 over the centred rows (Hoerl and Kennard 1970).
        """
        self._corrected_at *= CORRECTED_AGAIN
        if not self._corrects:
            return
        places = np.argsort(self.rows)
        prefixes = np.empty((len(self.rows), len(self._own)), dtype=np.float32)
        prefixes[places] = self._view.shortlist.prefixes(self.rows[places])
        centred = prefixes - prefixes.mean(axis=0)
        left = self.scores - self.scores.mean() - centred @ self._own
        weights = centred.T @ centred
        weights[np.diag_indices_from(weights)] += RIDGE
        self._order = self._own + np.linalg.solve(weights, centred.T @ left)
        self._ordered_by = prefixes @ self._order
        if self._work is not None:
            self._work.corrections += 1
            self._work.narrowed(len(prefixes))
        if len(self._pending) >= ENOUGH * (self._corrected_at - len(self.rows)):
            rows = np.sort(self._pending)
            if self._work is not None:
                self._work.narrowed(len(rows))
            self._pending, self._pending_scores = best(rows, self._view.shortlist.scores(self._order, rows), len(rows))
        else:
            self._take_new(*self._next(self._corrected_at + len(self.rows)))

"""Makes a calibration: exact search for every query, then descents whose outcome is known, then what they teach."""

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import faiss
import numpy as np

from index import bits
from index.allowed import Allowed
from index.calibration import KS, SHARES, Calibration
from index.errors import InvalidInput, ViewGone
from index.exact import exact
from index.first_stage import first_stage
from index.learning import Traces, fitted_on, learn
from index.paging import cold_rows
from index.progress import Progress
from index.scan import best
from index.tracing import Trace, trace
from index.view import View

LEAST_QUERIES = 100
STAND_IN = 1.15  # caution where stored documents stand in for queries
FILTERED = 500  # queries that are also asked under each filter
NARROWEST = 4  # a filter that lets fewer than so many times k rows pass is answered exactly anyway
AT_ONCE = 16  # queries of an exact scan: a block of it takes some milliseconds, which is what a search may wait
DEEP_ENOUGH = 0.98  # recall of a graph's own order, beyond which more depth is not worth its time
LOOKED_AT = 1_024  # rows drawn to see how many have to be read from the disk
COLD = 80.0  # rows in memory that such a row costs: 40 us
LOOK = 100.0  # rows in memory that a look at the signs costs: 55 us
CORRECTED = 5.0  # rows in memory that a row has to cost for a corrected order to be worth a thousand of them
BLOCK = 65_536  # prefixes scored at a time
PROBED, PROBE = 64, 256  # queries and rows that the depth is chosen by


@dataclass(frozen=True, eq=False)
class Asked:
    """(q, dim) float32 unit queries in random order, where they come from, and the row each leaves out (-1: none).

    `guaranteed` says that they are exchangeable with the queries to come, which stored documents are not. The rows
    are of `generation`.
    """

    vectors: np.ndarray
    source: str
    guaranteed: bool
    own_rows: np.ndarray | None = None
    generation: int | None = None

    def check(self, view: View) -> None:
        """Raise ViewGone when the rows mean other documents in this view."""
        if self.own_rows is not None and self.generation not in (None, view.generation):
            raise ViewGone("documents that stand in for queries were renumbered by a compaction; measure again")

    def part(self, which: slice | np.ndarray) -> "Asked":
        """Some of the queries, in the order of `which`."""
        own = None if self.own_rows is None else self.own_rows[which]
        return replace(self, vectors=self.vectors[which], own_rows=own)

    def own(self, place: int) -> int:
        """The row that a query leaves out, -1 for none."""
        return -1 if self.own_rows is None else int(self.own_rows[place])

    def less(self, place: int, view: View, allowed: Allowed | None) -> Allowed | None:
        """What a query may find of the allowed rows (None: all): not itself."""
        own = self.own(place)
        if own < 0:
            return allowed
        return (view.every if allowed is None else allowed).without([own])


def identity(view: View) -> dict[str, Any]:
    """What a calibration belongs to: another of any of these makes other shortlists."""
    older = view.shortlist.older
    return {
        "fingerprint": view.space.fingerprint_id,
        "prefix_dim": view.space.prefix_dim,
        "rotation": view.rotation.checksum if view.rotation else None,
        "query_map": view.query_map.checksum if view.query_map else None,
        "first_stage": older.order if older else "flat",
        "storage": view.codec.name,
    }


def calibrate(
    view: View, asked: Asked, most: int, progress: Progress, seed: int = 0, price: float | None = None
) -> Calibration:
    """Learn from the queries how deep a search has to go; `most` bounds a shortlist.

    `price` is what reading a row costs, in rows that are in memory; None takes that of the vectors as they lie now.
    `progress` gets (steps done, steps) between two pieces of a few milliseconds: it may wait there, and what it
    raises ends the work. Raises InvalidInput for too few queries or documents.
    """
    if len(asked.vectors) < LEAST_QUERIES:
        raise InvalidInput(f"a calibration needs at least {LEAST_QUERIES} queries, got {len(asked.vectors)}")
    ks = tuple(k for k in KS if k * NARROWEST <= view.count)
    if not ks or view.searched.exact_only:
        raise InvalidInput(f"{view.count} documents are searched exactly: there is nothing to calibrate")
    faiss.omp_set_num_threads(1)  # of this thread: reranks of a few rows wait for each other's threads otherwise
    started = time.perf_counter()
    depth = _depth(view, asked.vectors[:PROBED], lambda: progress(0, 1))
    price = row_price(view, seed) if price is None else price
    corrects = price >= CORRECTED and not view.shortlist.packed  # an order of wide codes leaves little to correct
    work = _Work(view, asked, ks, most, depth, corrects, progress, seed)
    deep, plain = work.traces()
    made = datetime.now(UTC).isoformat(timespec="seconds")
    calibration = Calibration(
        calibration_id="",
        made=made,
        source=asked.source,
        guaranteed=asked.guaranteed,
        queries=len(asked.vectors),
        rows=view.count,
        most=min(most, view.count),
        depth=depth,
        identity=identity(view),
        buckets=learn(deep, plain, ks, LOOK / price, work.between),
        corrects=corrects,
        through=view.rows,
        caution=1.0 if asked.own_rows is None else STAND_IN,
        measured={"seconds": round(time.perf_counter() - started, 1), "shares": sorted(deep, reverse=True)},
    )
    done = replace(calibration, calibration_id=named(calibration))
    return Calibration.from_json(done.to_json())  # as it will be read: a threshold loses digits on its way to a file


def filtered(number: int) -> list[int]:
    """Places of the queries that are asked under filters: of those the models see, and of those they do not."""
    chosen = min(number, FILTERED)
    seen = fitted_on(chosen)
    return [*range(seen), *range(fitted_on(number), fitted_on(number) + chosen - seen)]


def named(calibration: Calibration) -> str:
    """Date and time of the calibration and eight digits of what it holds."""
    return f"{calibration.made[:19]}-{zlib.crc32(calibration.to_json().encode()):08x}"


class _Work:
    """The traces of one calibration; every step is one query under one filter, or one block of an exact scan."""

    def __init__(
        self,
        view: View,
        asked: Asked,
        ks: Sequence[int],
        most: int,
        depth: float,
        corrects: bool,
        progress: Progress,
        seed: int,
    ) -> None:
        self._view, self._asked, self._ks, self._most, self._depth = view, asked, ks, most, depth
        self._corrects = corrects
        self._progress, self._rng, self._done = progress, np.random.default_rng(seed), 0
        self._shares = [share for share in SHARES if share * view.count >= NARROWEST * ks[-1]]
        under_filters = (len(self._shares) - 1) * min(len(asked.vectors), FILTERED)
        self._steps = (2 + corrects) * (len(asked.vectors) + under_filters)

    def traces(self) -> tuple[Traces, Traces]:
        """Descents as searches make them by share, and those in plain prefix order, which may be the same."""
        deep: dict[float, list[Trace]] = {}
        plain: dict[float, list[Trace]] = {} if self._corrects else deep
        for share in self._shares:
            allowed = self._random(share)
            chosen = range(len(self._asked.vectors)) if share == 1.0 else filtered(len(self._asked.vectors))
            truth = self._truth(chosen, allowed)
            for traces, corrects in ((plain, False), (deep, True))[: 1 + self._corrects]:
                asked = zip(chosen, truth, strict=True)
                traces[share] = [self._traced(place, kth, allowed, corrects) for place, kth in asked]
        return deep, plain

    def _random(self, share: float) -> Allowed | None:
        """Live rows drawn at random, as a filter would let them pass that has nothing to do with the query."""
        view = self._view
        if share == 1.0:
            return None if view.all_live else view.every
        live = bits.unpack(view.live, view.rows) & (self._rng.random(view.rows) < share)
        return Allowed(bits.pack(live), int(live.sum()), view.rows)

    def _truth(self, chosen: Sequence[int], allowed: Allowed | None) -> list[list[float]]:
        """The exact k-th scores of each query, its own row left out."""
        mask = allowed.mask() if allowed else None
        found: list[list[float]] = []
        for start in range(0, len(chosen), AT_ONCE):
            part = list(chosen[start : start + AT_ONCE])
            answers = exact(
                self._view, self._asked.vectors[part], self._ks[-1] + 1, mask, progress=lambda *_: self._told(0)
            )
            for place, (rows, scores) in zip(part, answers, strict=True):
                kept = scores[rows != self._asked.own(place)]
                found.append([float(kept[k - 1]) for k in self._ks])
            self._told(len(part))
        return found

    def _traced(self, place: int, kth: Sequence[float], allowed: Allowed | None, corrects: bool) -> Trace:
        self._told(1)
        view, allowed = self._view, self._asked.less(place, self._view, allowed)
        return trace(view, self._asked.vectors[place], kth, self._ks, self._most, allowed, self._depth, corrects)

    def between(self) -> None:
        """To be called between two pieces of other work."""
        self._told(0)

    def _told(self, steps: int) -> None:
        self._done += steps
        self._progress(min(self._done, self._steps), self._steps)


def row_price(view: View, seed: int = 0) -> float:
    """What reading a row costs, in rows that are in memory: more where some have to be read from the disk."""
    rows = np.random.default_rng(seed).integers(view.rows, size=LOOKED_AT)
    return 1.0 + COLD * (cold_rows(view.matrix, rows) or 0) / LOOKED_AT


def _depth(view: View, queries: np.ndarray, between: Callable[[], None]) -> float:
    """The least depth at which the order of a graph, or of lists, is that of a scan, nearly."""
    older = view.shortlist.older
    if older is None or older.exhaustive:
        return 1.0
    keep = min(PROBE, view.rows)
    found: dict[float, list[float]] = {depth: [] for depth in older.depths}
    for prefix in view.prefixes(queries):
        truth = set(_scanned(view, prefix, keep).tolist())
        for depth in older.depths:
            rows = first_stage(view, prefix, keep, None, depth)[0]
            found[depth].append(len(truth.intersection(rows.tolist())) / keep)
        between()
    return next((depth for depth in older.depths if np.mean(found[depth]) >= DEEP_ENOUGH), older.depths[-1])


def _scanned(view: View, prefix: np.ndarray, keep: int) -> np.ndarray:
    """The best rows of all, in blocks: the prefixes of a graph are copied when they are read."""
    if view.shortlist.packed:
        return view.shortlist.search(prefix, keep, math.inf, None)[0]
    starts = range(0, view.rows, BLOCK)
    blocks = (np.arange(start, min(start + BLOCK, view.rows)) for start in starts)
    scores = np.concatenate([view.shortlist.scores(prefix, block) for block in blocks])
    return best(np.arange(view.rows), scores, keep)[0]

"""What a store measures of itself: which plans there are, on which documents, with which calibration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from index import documents as table
from index import filters
from index.calibrating import Asked, calibrate, identity
from index.calibration import Calibration
from index.calibrations import Calibrations
from index.curve import Curve, cascades, ladder
from index.database import Documents
from index.document import StoredDocument
from index.errors import InvalidPlan
from index.matching import Matching
from index.matryoshka import unit_rows
from index.newest import on_newest
from index.options import StoreOptions
from index.plan import Plan, Stage, make_plan
from index.progress import Progress
from index.query import Query
from index.sampling import blocks, drawn
from index.view import View

TARGETS = (0.9, 0.95, 0.98, 0.99)


class Measuring:
    """May be used from any thread; every method looks at the newest view."""

    def __init__(
        self,
        documents: Documents,
        matching: Matching,
        calibrations: Calibrations,
        options: StoreOptions,
        newest: Callable[[], View],
    ) -> None:
        self._documents, self._matching, self._calibrations = documents, matching, calibrations
        self._options, self._newest = options, newest

    def plans(
        self,
        k: int,
        shortlists: Sequence[int] | None = None,
        stages: Sequence[tuple[Stage, ...]] | None = None,
    ) -> list[Plan]:
        """The plans of these shortlists and cascades; None takes those of `index.curve`, which may be an exact search.

        Raises InvalidPlan, with both numbers, for any that a search would be refused for, and for such a k.
        """
        if k > self._options.max_limit:
            raise InvalidPlan(f"k must be at most {self._options.max_limit}, got {k}")
        view = self._newest()
        space, exact_only = view.space, view.searched.exact_only
        chosen = shortlists is None and not stages
        if shortlists is None:
            shortlists = [] if exact_only else [s for s in ladder(k, view.count) if s <= self._options.max_shortlist]
        if stages is None:
            stages = [] if exact_only else cascades(k, view.count, space.prefix_dim, space.dim)
        queries = [Query(limit=k, shortlist=length) for length in shortlists]
        queries += [Query(limit=k, stages=one) for one in stages]
        if chosen and not queries:  # every length of the ladder covers the collection
            queries = [Query(limit=k, exact=True)]
        return [make_plan(query, view.searched, view.count, self._options) for query in queries]

    def targets(self, k: int, calibration: Calibration) -> list[Plan]:
        """The plans of target recalls by a calibration; none where it does not know this k."""
        view = self._newest()
        if calibration.bucket(k) is None:
            return []
        queries = [Query(limit=k, target_recall=target) for target in TARGETS]
        return [make_plan(query, view.searched, view.count, self._options, calibration.most) for query in queries]

    def curve(
        self, asked: Asked, k: int, filter: Mapping[str, Any] | None = None, calibration: Calibration | None = None
    ) -> Curve:
        """For the documents that match a filter; raises InvalidFilter."""
        node = None if filter is None else filters.parse(filter)
        found = on_newest(self._newest, lambda view, strict: (view, self._matching.allowed(view, node, strict=strict)))
        view, allowed = found
        asked.check(view)
        return Curve(view, asked, k, allowed, calibration)

    def calibrated(self, asked: Asked, progress: Progress, seed: int = 0) -> Calibration:
        """What `Store.calibrate` makes, without putting it in force."""
        view = self._newest()
        asked.check(view)
        return calibrate(view, asked, self._options.max_shortlist, progress, seed)

    def identity(self) -> dict[str, Any]:
        """What queries that are chosen now, and a calibration made with them, belong to."""
        return identity(self._newest())

    def put(self, calibration: Calibration, since: Mapping[str, Any] | None = None) -> bool:
        """Put one in force; whether it is: a rotation or a query map that was applied meanwhile makes it void.

        `since` is the identity of the index when the queries were chosen, None for that of the calibration. One that
        does not fit it, or the index, is not put in force at all.
        """
        if since is not None and not dict(calibration.identity) == dict(since) == self.identity():
            return False
        self._calibrations.put(calibration)
        return self._calibrations.of(self._newest()) is calibration

    def units(self, vectors: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """(q, dim) unit queries as searches take them, under the query map; raises InvalidVector."""
        view = self._newest()
        return view.mapped(unit_rows(vectors, view.space.dim))

    def draw(self, size: int, seed: int = 0) -> list[StoredDocument]:
        """At most `size` documents in random order, without their vectors."""
        return on_newest(self._newest, lambda view, _: self._drawn(view, size, seed))

    def _drawn(self, view: View, size: int, seed: int) -> list[StoredDocument]:
        rows = _shuffled(view, size, seed).tolist()
        with self._documents.reader(view.generation) as db:
            found = table.by_rows(db, rows)
        return [found[row] for row in rows if row in found]

    def draw_vectors(self, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
        """(n, dim) float32 stored vectors of n <= size documents in random order, (n,) their rows, and the generation
        that these are of."""
        view = self._newest()
        rows = _shuffled(view, size, seed)
        parts = [part.copy() for part in blocks(view, rows, max(1, len(rows)))]
        return np.concatenate([np.empty((0, view.space.dim), dtype=np.float32), *parts]), rows, view.generation

    def asked_for(self) -> str | None:
        """Why a calibration should be made; None when the one in force will do, or when none can help."""
        view = self._newest()
        if view.searched.exact_only:
            return None
        known = self._calibrations.describe(view)["calibration"]
        return "there is no calibration yet" if known is None else known["outdated"]


def _shuffled(view: View, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(drawn(view, size, seed))

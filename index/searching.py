"""A search from the query vectors to documents, over one view, and again when documents moved meanwhile."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import faiss
import numpy as np

from index import filters, fusing, results
from index.calibrations import Calibrations
from index.database import Documents
from index.errors import SearchTimeout, ViewGone
from index.matching import Matching
from index.matryoshka import unit_rows
from index.newest import MOMENT, PATIENCE
from index.options import StoreOptions
from index.plan import make_plan
from index.query import Answer, Query
from index.targeting import resolved
from index.view import View
from index.words import Words

ATTEMPTS = 4  # searches of ever newer views while documents move under the reader, at least
log = logging.getLogger(__name__)


class Searcher:
    """Searches the newest view; may be called from any thread."""

    def __init__(
        self,
        documents: Documents,
        matching: Matching,
        calibrations: Calibrations,
        options: StoreOptions,
        newest: Callable[[], View],
        words: Words,
    ) -> None:
        self._documents, self._matching, self._calibrations = documents, matching, calibrations
        self._options, self._newest, self._words = options, newest, words
        self._thread = threading.local()

    def search(self, vectors: np.ndarray, query: Query) -> list[Answer]:
        """See `Store.search`."""
        self._single_threaded()
        unit = unit_rows(np.atleast_2d(vectors), self._newest().space.dim)
        node = filters.parse(query.filter) if query.filter is not None else None
        end = time.monotonic() + PATIENCE
        for attempt in count(1):  # the last attempts leave out what moved; a compaction may still end during one
            view, strict = self._newest(), attempt < ATTEMPTS or time.monotonic() < end
            try:
                return self._search(view, unit, query, node, strict)
            except (results.RowsMoved, ViewGone):
                log.debug("documents moved during the search; attempt %d", attempt)
                if not strict and self._newest().generation == view.generation:
                    raise
                time.sleep(MOMENT)
        raise AssertionError("it goes on until it is answered")

    def _search(
        self, view: View, unit: np.ndarray, query: Query, node: filters.Node | None, strict: bool
    ) -> list[Answer]:
        if query.mapped:
            unit = view.mapped(unit)
        calibration = self._calibrations.of(view)
        most = None if calibration is None else calibration.most
        plan = make_plan(query, view.searched, view.count, self._options, most)
        if query.explain:
            plan = replace(plan, explain=True)
        asked = plan
        if query.hybrid is not None:
            plan = fusing.deepened(plan)
        if query.deadline is not None:
            _check_deadline(query.deadline)
        allowed = self._matching.allowed(view, node, query.exclude, strict)
        plan, rule = resolved(plan, calibration, allowed.count if allowed else view.rows)
        rankings = fusing.search(
            view, unit, plan, allowed, query.deadline, calibration, rule, query.hybrid, asked.wanted, self._words
        )
        if query.hybrid is not None:
            plan = replace(plan, wanted=asked.wanted)
        # Ids alone are one statement; where one is missing, `as_of` tells of all that was committed before it, too.
        moment = not query.bare or node is not None
        with self._documents.reader(view.generation, moment) as db:
            return [
                results.answer(db, view, vector, query, plan, ranking, allowed, node, strict)
                for vector, ranking in zip(unit, rankings, strict=True)
            ]

    def _single_threaded(self) -> None:
        # FAISS opens an OpenMP region even for one query; two searches at once want one core each.
        if not getattr(self._thread, "ready", False):
            faiss.omp_set_num_threads(1)
            self._thread.ready = True


def _check_deadline(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise SearchTimeout("the deadline passed before the search began")

"""Live truth: a share of the live answers is compared with exact search while nobody searches, within a budget."""

import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Condition, Thread
from typing import Any

import faiss
import numpy as np

from app.budget import Budget
from app.busy import ShuttingDown
from app.idle import Idle
from app.one_core import one_core
from app.settings import Settings
from app.truth_metrics import TruthMetrics
from app.truth_watch import TruthWatch
from index.errors import FunnelError, ViewGone
from index.query import Answer, Query
from index.shadow import Shadow, recalls
from index.store import Store
from index.view import View

QUEUE = 64  # answers that wait to be compared
TOGETHER = 16  # of them share a scan
SAVED = 10.0  # seconds of scanning that a quiet time saves up
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pending:
    """An answer that waits to be compared, without its documents, and the calibration of its moment."""

    shadow: Shadow
    answer: Answer
    calibration_id: str | None


class Truth:
    """Takes a share of the live answers, compares them in a thread of its own and tells a `TruthWatch`.

    What is compared are rankings that a calibration speaks of: a whole top k with full scores, for a text or a
    vector, in time. An answer that is exact by construction has recall 1 without a scan.
    """

    def __init__(
        self,
        store: Store,
        metrics: TruthMetrics,
        idle: Idle,
        share: float,
        budget: Budget,
        wanted: Callable[[str], None],
        seed: int | None = None,
    ) -> None:
        """`share` of the answers is taken, by `seed` at random; `wanted` hears why a recalibration is needed."""
        self._store, self._metrics, self._idle, self._share, self._budget = store, metrics, idle, share, budget
        self._watch = TruthWatch(lambda: _calibration_id(store), metrics, wanted)
        self._random, self._left_out = random.Random(seed), Counter[str]()
        self._queue: deque[Pending] = deque()
        self._changed, self._stopped = Condition(), False
        self._thread = Thread(target=self._run, name="truth", daemon=True)
        if share:
            self._thread.start()

    def offer(self, view: View, vectors: np.ndarray, query: Query, answers: Sequence[Answer]) -> None:
        """Answers to (n, dim) vectors, and the view that was the newest before they were searched. Never blocks,
        and never raises: the search has its answer already."""
        if not self._share or not _comparable(query):
            return
        for vector, answer in zip(vectors, answers, strict=True):
            if self._random.random() < self._share:
                self._try(view, vector, query, answer)

    def describe(self) -> dict[str, Any] | None:
        """`truth` of the statistics; None when nothing is compared."""
        if not self._share:
            return None
        with self._changed:
            left_out = {kind: self._left_out[kind] for kind in ("skipped", "dropped")}
            waiting = len(self._queue)
        return {**self._watch.describe(), **left_out, "waiting": waiting}  # takes milliseconds: no search may wait

    def close(self) -> None:
        """Give up what waits, and end the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._share:
            self._thread.join()

    def _try(self, view: View, vector: np.ndarray, query: Query, answer: Answer) -> None:
        try:
            self._take(view, vector, query, answer)
        except ViewGone:
            self._leave_out("skipped", "documents_changed")
        except Exception:  # whatever it is, the search must not fail of it
            log.exception("an answer could not be taken for a comparison with exact search")
            self._leave_out("skipped", "error")

    def _take(self, view: View, vector: np.ndarray, query: Query, answer: Answer) -> None:
        if answer.degraded is not None:
            self._leave_out("skipped", "timeout")
        elif self._store.view is not view:
            self._leave_out("skipped", "documents_changed")
        elif self._budget.left <= 0:
            self._leave_out("dropped", "budget")
        elif len(self._queue) >= QUEUE:
            self._leave_out("dropped", "queue")
        else:
            shadow = self._store.shadow(view, vector, query, answer)
            self._put(Pending(shadow, replace(answer, hits=[]), _calibration_id(self._store)))

    def _put(self, one: Pending) -> None:
        with self._changed:
            self._queue.append(one)
            self._changed.notify()

    def _leave_out(self, kind: str, reason: str) -> None:
        series = self._metrics.skipped if kind == "skipped" else self._metrics.dropped
        series.labels(reason).inc()
        with self._changed:
            self._left_out[kind] += 1

    def _run(self) -> None:
        faiss.omp_set_num_threads(1)  # the other cores answer searches
        while batch := self._next():
            try:
                self._compare(batch)
            except ShuttingDown:
                return
            except (FunnelError, OSError, MemoryError) as error:
                log.warning("%d answers could not be compared with exact search: %s", len(batch), error)
                self._failed(batch)
            except Exception:  # the thread lives on
                log.exception("%d answers could not be compared with exact search", len(batch))
                self._failed(batch)

    def _failed(self, batch: Sequence[Pending]) -> None:
        for _ in batch:
            self._leave_out("skipped", "error")

    def _next(self) -> list[Pending]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopped)
            return [] if self._stopped else [self._queue.popleft() for _ in range(min(TOGETHER, len(self._queue)))]

    def _compare(self, batch: Sequence[Pending]) -> None:
        self._idle.wait()
        found = iter(self._scanned([one.shadow for one in batch if not one.answer.exact]))
        for one in batch:
            recall = 1.0 if one.answer.exact else next(found)
            if one.calibration_id == _calibration_id(self._store):
                self._watch.add(recall, one.answer)
            else:
                self._leave_out("skipped", "calibration_changed")

    def _scanned(self, shadows: Sequence[Shadow]) -> list[float]:
        """recall@k of each; gives way to searches, and pays for the time that it did not wait."""
        if not shadows:
            return []
        began, waited = time.perf_counter(), 0.0

        def give_way(done: int, total: int) -> None:
            nonlocal waited
            if self._stopped:
                raise ShuttingDown
            since = time.perf_counter()
            self._idle.wait()
            waited += time.perf_counter() - since

        try:
            with one_core():  # the others answer searches
                return recalls(shadows, give_way)
        finally:
            self._budget.spend(time.perf_counter() - began - waited)


def open_truth(
    settings: Settings, store: Store, metrics: TruthMetrics, idle: Idle, wanted: Callable[[str], None]
) -> Truth:
    """The comparisons of a service, as many as its settings allow."""
    return Truth(store, metrics, idle, settings.truth_share, Budget(settings.truth_budget, SAVED), wanted)


def _comparable(query: Query) -> bool:
    whole = query.rescore and query.offset == 0 and query.score_threshold is None
    return whole and not query.exact and query.exclude is None and query.hybrid is None


def _calibration_id(store: Store) -> str | None:
    known = store.calibration  # once: another thread may forget it
    return None if known is None else known.calibration_id

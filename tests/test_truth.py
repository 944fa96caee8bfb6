"""Live answers compared with exact search: sampling, budget, and what makes a warning."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from app.budget import Budget
from app.idle import Idle
from app.truth import QUEUE, Truth, _calibration_id
from app.truth_metrics import TruthMetrics
from app.truth_watch import TruthWatch
from app.truth_window import ENOUGH, WINDOW
from blas_threads import blas_threads, let_blas_have
from index.evaluation import recall_at_k
from index.query import Answer, Query
from index.shadow import Shadow, recalls
from index.store import Store
from index_cases import FLAT, best_ids, fill, numbered, opened, unit_vectors, until

COUNT = 600
V = unit_vectors(COUNT)
Q = unit_vectors(40, seed=1)
ANSWER = Answer([], "cosine", [], "request", "none", False, None, {}, 0, 0, "")
NARROW = Query(limit=10, shortlist=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """600 documents with random vectors, searched through a flat first stage."""
    with opened(tmp_path / "data", FLAT) as store:
        fill(store, V)
        yield store


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where the series are."""
    return CollectorRegistry()


@contextmanager
def truth_of(
    store: Store,
    registry: CollectorRegistry,
    share: float = 1,
    saved: float = 10.0,
    busy: Callable[[], bool] = lambda: False,
) -> Iterator[Truth]:
    """A running comparison that is closed at the end."""
    budget = Budget(1e-6, saved)
    truth = Truth(store, TruthMetrics(registry), Idle(busy), share, budget, lambda reason: None, seed=0)
    try:
        yield truth
    finally:
        truth.close()


def told(truth: Truth, number: int) -> dict[str, Any]:
    """The statistics, once so many answers have been compared or left out."""
    about: dict[str, Any] = {}

    def done() -> bool:
        about.update(truth.describe() or {})
        return about["compared"] + about["skipped"] + about["dropped"] >= number

    until(done)
    return about


def searched(store: Store, truth: Truth, query: Query = NARROW, queries: np.ndarray = Q) -> list[Answer]:
    """Answers that were offered, as the service does."""
    view = store.view
    answers = store.search(queries, query)
    truth.offer(view, queries, query, answers)
    return answers


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """The value of a series."""
    value = registry.get_sample_value(name, labels)
    assert value is not None, name
    return value


def test_the_recall_is_that_of_an_independent_count(store: Store, registry: CollectorRegistry) -> None:
    """In the statistics and on the graph."""
    with truth_of(store, registry) as truth:
        answers = searched(store, truth)
        about = told(truth, len(Q))
    vectors = dict(zip(numbered(COUNT), V, strict=True))
    found = [
        recall_at_k([hit.doc_id for hit in answer.hits], best_ids(vectors, query, 10), 10)
        for query, answer in zip(Q, answers, strict=True)
    ]
    assert 0.3 < np.mean(found) < 0.95
    assert about["recall"] == pytest.approx(np.mean(found), abs=1e-4)
    assert about["recall_low"] < np.mean(found) < about["recall_high"]
    assert (about["queries"], about["compared"], about["skipped"], about["dropped"]) == (len(Q), len(Q), 0, 0)
    assert sample(registry, "funnel_truth_queries_total") == len(Q)
    assert sample(registry, "funnel_truth_recall") == pytest.approx(np.mean(found))
    assert math.isnan(sample(registry, "funnel_truth_coverage"))  # nothing was estimated


def test_the_share_that_was_asked_for_is_compared(store: Store, registry: CollectorRegistry) -> None:
    """Binomially: 400 queries at a share of 0.1 give 40, and a seed always the same."""
    with truth_of(store, registry, share=0.1) as truth:
        taken = []
        for _ in range(10):
            searched(store, truth)
            until(lambda: not (truth.describe() or {})["waiting"])
        until(lambda: bool((truth.describe() or {})["compared"] > 20))
        taken.append((truth.describe() or {})["compared"])
    assert 40 - 4 * 6 <= taken[0] <= 40 + 4 * 6  # four standard deviations


def test_a_share_of_0_compares_nothing(store: Store, registry: CollectorRegistry) -> None:
    """There is no thread then, and no statistics."""
    with truth_of(store, registry, share=0) as truth:
        searched(store, truth)
        assert truth.describe() is None
        assert not truth._thread.is_alive()
    assert sample(registry, "funnel_truth_queries_total") == 0


@pytest.mark.parametrize(
    "query",
    [
        Query(limit=5, exact=True),
        Query(limit=5, rescore=False),
        Query(limit=5, offset=5),
        Query(limit=5, score_threshold=0.3),
        Query(limit=5, exclude="d00001"),
    ],
)
def test_only_whole_rankings_are_compared(store: Store, registry: CollectorRegistry, query: Query) -> None:
    """Not what is exact because it was asked for, pages, parts of a top k, or searches by a stored document."""
    with truth_of(store, registry) as truth:
        searched(store, truth, query)
        searched(store, truth, NARROW, Q[:1])
        assert told(truth, 1)["compared"] == 1


def test_an_exact_answer_needs_no_scan(store: Store, registry: CollectorRegistry) -> None:
    """A search that covered everything counts with recall 1 and costs nothing of the budget."""
    with truth_of(store, registry) as truth:
        assert all(answer.exact for answer in searched(store, truth, Query(limit=60)))
        about = told(truth, len(Q))
        assert (about["recall"], about["compared"]) == (1.0, len(Q))
        assert truth._budget.left == 10.0
        searched(store, truth)
        told(truth, 2 * len(Q))
        assert truth._budget.left < 10.0


def test_answers_of_an_older_view_are_left_out(store: Store, registry: CollectorRegistry) -> None:
    """When documents changed while the search ran, nobody knows which it saw."""
    with truth_of(store, registry) as truth:
        view, answers = store.view, store.search(Q, NARROW)
        store.delete(["d00000"])
        truth.offer(view, Q, NARROW, answers)
        assert (told(truth, len(Q))["skipped"], truth._queue) == (len(Q), type(truth._queue)())
    assert sample(registry, "funnel_truth_skipped_total", reason="documents_changed") == len(Q)


def test_answers_that_ran_out_of_time_are_left_out(store: Store, registry: CollectorRegistry) -> None:
    """Their recall says nothing about the calibration, and they are counted elsewhere."""
    with truth_of(store, registry) as truth:
        late = [replace(answer, degraded={"reason": "timeout"}) for answer in store.search(Q, NARROW)]
        truth.offer(store.view, Q, NARROW, late)
        assert told(truth, len(Q))["skipped"] == len(Q)
    assert sample(registry, "funnel_truth_skipped_total", reason="timeout") == len(Q)


def test_nothing_is_taken_beyond_the_budget(store: Store, registry: CollectorRegistry) -> None:
    """A budget that the first scan used up drops what comes after, and counts it."""
    with truth_of(store, registry, saved=1e-9) as truth:
        searched(store, truth, NARROW, Q[:1])
        assert told(truth, 1)["compared"] == 1
        assert truth._budget.left < 0
        searched(store, truth)
        assert told(truth, 1 + len(Q))["dropped"] == len(Q)
    assert sample(registry, "funnel_truth_dropped_total", reason="budget") == len(Q)


def test_a_full_queue_drops_and_never_blocks(store: Store, registry: CollectorRegistry) -> None:
    """While searches keep the comparison waiting, the queue fills; a search is not held up by it."""
    blocked = [True]
    with truth_of(store, registry, busy=lambda: blocked[0]) as truth:
        truth._idle.wait = lambda patience=0.1: Idle(lambda: blocked[0]).wait(20)  # type: ignore[method-assign]
        for _ in range(4):
            searched(store, truth)
        assert len(truth._queue) == QUEUE
        blocked[0] = False
        about = told(truth, 4 * len(Q))
    assert about["dropped"] > 0
    assert about["compared"] + about["dropped"] == 4 * len(Q)
    assert sample(registry, "funnel_truth_dropped_total", reason="queue") == about["dropped"]


def test_the_end_does_not_wait_for_a_scan(store: Store, registry: CollectorRegistry) -> None:
    """A comparison that has begun is given up at its next step."""
    stopped = time.monotonic()
    with truth_of(store, registry, busy=lambda: True) as truth:
        searched(store, truth)
        stopped = time.monotonic()
    assert time.monotonic() - stopped < 5
    assert not truth._thread.is_alive()


def test_a_search_never_fails_of_a_comparison(
    store: Store, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be taken is logged and counted; the next answers are compared."""
    with truth_of(store, registry) as truth:
        with monkeypatch.context() as broken:
            broken.setattr(type(store), "shadow", lambda *_: 1 / 0)
            assert len(searched(store, truth)) == len(Q)
        assert told(truth, len(Q))["skipped"] == len(Q)
        searched(store, truth)
        assert told(truth, 2 * len(Q))["compared"] == len(Q)
    assert sample(registry, "funnel_truth_skipped_total", reason="error") == len(Q)
    assert "ZeroDivisionError" in caplog.text


def test_the_thread_survives_an_unforeseen_error(
    store: Store, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its trace, its answers are counted as skipped, and later ones are compared."""
    with truth_of(store, registry) as truth:
        with monkeypatch.context() as broken:
            broken.setattr("app.truth.recalls", lambda *_: {}["nothing"])
            searched(store, truth)
            assert told(truth, len(Q))["skipped"] == len(Q)
        searched(store, truth)
        assert told(truth, 2 * len(Q))["compared"] == len(Q)
    assert "KeyError" in caplog.text


def test_a_comparison_computes_on_one_core(
    store: Store, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the live searches need the others; afterwards they have all of them again."""
    seen: list[set[int]] = []

    def looked(shadows: list[Shadow], give_way: Callable[[int, int], None]) -> list[float]:
        seen.append(blas_threads())
        return recalls(shadows, give_way)

    monkeypatch.setattr("app.truth.recalls", looked)
    before = max(blas_threads(), default=1)
    let_blas_have(2)
    with truth_of(store, registry) as truth:
        searched(store, truth)
        told(truth, len(Q))
    assert all(threads <= {1} for threads in seen)
    assert blas_threads() <= {2}
    let_blas_have(before)


def test_a_calibration_that_is_forgotten_between_two_looks_is_none() -> None:
    """As another thread may do at any time."""

    class Forgetting:
        def __init__(self) -> None:
            self.known = iter([SimpleNamespace(calibration_id="x"), None])

        @property
        def calibration(self) -> Any:
            return next(self.known)

    forgetting: Any = Forgetting()
    assert [_calibration_id(forgetting), _calibration_id(forgetting)] == ["x", None]


class Recalibration:
    """The calibration in force, and who asked for another one."""

    def __init__(self) -> None:
        self.calibration_id: str | None = "first"
        self.reasons: list[str] = []
        self.registry = CollectorRegistry()
        self.watch = TruthWatch(lambda: self.calibration_id, TruthMetrics(self.registry), self.reasons.append)

    def answered(self, recall: float, times: int, **said: Any) -> None:
        """So many answers with the same recall."""
        for _ in range(times):
            self.watch.add(recall, replace(ANSWER, **said))


def test_a_drop_warns_and_asks_for_a_recalibration_once(caplog: pytest.LogCaptureFixture) -> None:
    """Again when the whole window is new. The log, the statistics and the gauge say it."""
    made = Recalibration()
    made.answered(1.0, 100, target_recall=0.95, estimate=(0.95, 0.8))
    assert made.watch.describe()["warning"] is None
    made.answered(0.7, 100, target_recall=0.95, estimate=(0.95, 0.8))
    assert len(made.reasons) == 1
    warning = made.watch.describe()["warning"]
    assert warning is not None
    assert "95.0% was asked for" in warning
    assert sample(made.registry, "funnel_truth_warning") == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    made.answered(0.7, WINDOW, target_recall=0.95)
    assert len(made.reasons) == 2


def test_another_calibration_begins_anew() -> None:
    """What was measured under the old one is forgotten, the warning is lifted, and a new drop is told at once."""
    made = Recalibration()
    made.answered(0.5, ENOUGH, estimate=(0.95, 0.8))
    assert made.watch.describe()["warning"]
    made.calibration_id = "second"
    about = made.watch.describe()
    assert (about["queries"], about["warning"], about["compared"]) == (0, None, ENOUGH)
    assert sample(made.registry, "funnel_truth_warning") == 0
    assert math.isnan(sample(made.registry, "funnel_truth_recall"))
    made.answered(0.5, ENOUGH, estimate=(0.95, 0.8))
    assert len(made.reasons) == 2


def test_a_warning_ends_when_the_promise_is_kept_again() -> None:
    """By itself, as the window fills with better answers."""
    made = Recalibration()
    made.answered(0.5, ENOUGH, target_recall=0.9)
    made.answered(1.0, WINDOW, target_recall=0.9)
    assert made.watch.describe()["warning"] is None
    assert sample(made.registry, "funnel_truth_warning") == 0
    assert len(made.reasons) == 1


def test_a_false_certificate_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """It is a defect: logged as one and counted. A true one is neither."""
    made = Recalibration()
    made.answered(1.0, 1, certified=True, estimate=(1.0, 1.0))
    assert not caplog.records
    made.answered(0.9, 1, certified=True, estimate=(1.0, 1.0))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert sample(made.registry, "funnel_truth_false_certificates_total") == 1

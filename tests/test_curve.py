"""The measured curve equals what searches find when each is asked alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.calibrating import Asked
from index.curve import Point, cascades, ladder
from index.errors import InvalidPlan
from index.query import Query
from index.store import Store
from index_cases import FLAT, GRAPH, fill, opened, unit_vectors

COUNT, QUERIES, K = 900, 60, 10


def silent(done: int, total: int) -> None:
    """Nobody listens."""
    assert 0 <= done <= total


@pytest.fixture(params=["flat", "graph"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """900 documents, of which some were deleted; every third is red."""
    with opened(tmp_path, FLAT if request.param == "flat" else GRAPH) as made:
        ids = fill(made, unit_vectors(COUNT), lambda i: {"red": i % 3 == 0})
        made.delete(ids[5:50])
        yield made


def asked(number: int = QUERIES) -> Asked:
    """Queries like the documents."""
    return Asked(unit_vectors(number, seed=7), "test", True)


def measured(store: Store, queries: Asked, filter: Any = None, **plans: Any) -> list[Point]:
    """Points of the plans."""
    curve = store.measuring.curve(queries, K, filter)
    curve.look_up(silent)
    return curve.points(store.measuring.plans(K, **plans), silent)


def one_by_one(store: Store, queries: np.ndarray, **how: Any) -> float:
    """Mean recall of searches against exact ones, by ids."""
    recalls = []
    for query in queries:
        filter = how.get("filter")
        truth, found = (
            {hit.doc_id for hit in store.search(query, one)[0].hits}
            for one in (Query(limit=K, exact=True, filter=filter), Query(limit=K, **how))
        )
        recalls.append(len(truth & found) / len(truth))
    return float(np.mean(recalls))


@pytest.mark.parametrize("filter", [None, {"red": True}])
def test_the_curve_is_what_single_searches_find(store: Store, filter: Any) -> None:
    """Shortlists, nested in one pass or not, and cascades, with a filter and without."""
    queries = asked()
    points = measured(store, queries, filter, shortlists=[20, 80, 160], stages=[((8, 160), (16, 20))])
    for point in points:
        stages = point.plan.stages[:-1]
        alone = one_by_one(store, queries.vectors, stages=stages, filter=filter)
        assert point.recall.mean == pytest.approx(alone)
        assert point.recall.low < point.recall.mean <= point.recall.high
        assert point.rows == stages[-1][1]
        assert 0 < point.ms_median <= point.ms_p95
        assert point.queries == QUERIES
    assert points[0].recall.mean < points[1].recall.mean < points[2].recall.mean


def test_stored_documents_leave_themselves_out(store: Store) -> None:
    """Each would be its own best answer; what is counted is the rest."""
    vectors, rows, _ = store.measuring.draw_vectors(QUERIES)
    point = measured(store, Asked(vectors, "documents", False, rows), shortlists=[30], stages=[])[0]
    recalls = []
    ids = {document.row: document.doc_id for document in store.get([f"d{n:05}" for n in range(COUNT)])}
    for vector, row in zip(vectors, rows, strict=True):
        truth, found = (
            {hit.doc_id for hit in store.search(vector, one)[0].hits}
            for one in (
                Query(limit=K, exact=True, exclude=ids[int(row)]),
                Query(limit=K, shortlist=30, exclude=ids[int(row)]),
            )
        )
        recalls.append(len(truth & found) / K)
    assert point.recall.mean == pytest.approx(np.mean(recalls))


def test_a_shortlist_of_everything_is_exact(store: Store) -> None:
    """Without being measured; it says how many rows that are."""
    point = measured(store, asked(), shortlists=[COUNT], stages=[])[0]
    assert (point.recall.mean, point.exact, point.rows) == (1.0, 1.0, COUNT - 45)


def test_fewer_matches_than_k_can_all_be_found(store: Store) -> None:
    """Recall is of what there is; where nothing matches nothing is missing."""
    few = {"red": True, "$or": [{"red": False}]}
    assert measured(store, asked(5), few, shortlists=[20], stages=[])[0].recall.mean == 1.0


def test_what_no_search_may_ask_for_is_refused(store: Store) -> None:
    """With both numbers."""
    with pytest.raises(InvalidPlan, match=r"at least limit \+ offset = 10, got 5"):
        store.measuring.plans(K, shortlists=[5])
    with pytest.raises(InvalidPlan, match="at most 1000, got 1001"):
        store.measuring.plans(1_001)
    with pytest.raises(InvalidPlan, match="must have the prefix's 8 dimensions, got 9"):
        store.measuring.plans(K, stages=[((9, 50),)])


def test_the_default_plans_are_legal() -> None:
    """At least k, at most the collection, a quarter in the middle, and no cascade where there is no room for one."""
    assert ladder(10, 900) == (50, 100, 200, 400, 800)
    assert ladder(100, 150) == (100,)
    assert ladder(1, 40) == ()
    assert cascades(10, 900, 8, 32) == ()
    assert cascades(60, 900, 64, 768) == (((64, 400), (256, 100)), ((64, 800), (256, 200)))


def test_progress_ends_at_its_total_and_can_stop_the_work(store: Store) -> None:
    """Both phases count to the end; what it raises comes out."""
    told: list[tuple[int, int]] = []
    curve = store.measuring.curve(asked(), K)
    for phase in (curve.look_up, lambda tell: curve.points(store.measuring.plans(K, [20, 40]), tell)):
        told.clear()
        phase(lambda done, total: told.append((done, total)))
        assert told[-1][0] == told[-1][1]
        assert [done for done, _ in told] == sorted(done for done, _ in told)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curve.points(store.measuring.plans(K, [20]), stop)


def test_a_calibration_is_put_in_force_apart_and_its_targets_are_met(tmp_path: Path) -> None:
    """None before; afterwards more is found, by more rows, for a higher target."""
    with opened(tmp_path) as store:
        fill(store, unit_vectors(3_000))
        assert store.measuring.asked_for() == "there is no calibration yet"
        calibration = store.measuring.calibrated(Asked(unit_vectors(300, seed=3), "test", True), silent)
        assert store.calibration is None
        curve = store.measuring.curve(asked(), K, calibration=calibration)
        curve.look_up(silent)
        points = curve.points(store.measuring.targets(K, calibration), silent)
        assert store.measuring.targets(1_000, calibration) == []
        assert store.measuring.put(calibration)
        assert store.calibration is calibration
        assert store.measuring.asked_for() is None
        assert [point.plan.target for point in points] == [0.9, 0.95, 0.98, 0.99]
        assert points[0].rows < points[-1].rows
        for point in points:
            assert point.recall.high >= (point.plan.target or 0)


def test_documents_are_drawn_from_those_that_live(store: Store) -> None:
    """As many as asked for or as there are, each once, in the same order for the same seed."""
    drawn = [document.doc_id for document in store.measuring.draw(COUNT)]
    assert len(set(drawn)) == len(drawn) == COUNT - 45
    assert drawn != sorted(drawn)
    assert [document.doc_id for document in store.measuring.draw(10, 4)] == [
        document.doc_id for document in store.measuring.draw(10, 4)
    ]
    vectors, rows, generation = store.measuring.draw_vectors(3)
    assert generation == store.view.generation
    assert vectors.shape == (3, 32)
    assert not set(rows.tolist()) & set(range(5, 50))

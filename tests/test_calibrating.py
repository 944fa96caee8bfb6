"""Making a calibration: what it needs, what it says while it works, and that it changes nothing when it fails."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index import calibrating
from index.calibrating import Asked, calibrate, filtered
from index.calibration import Calibration
from index.errors import InvalidInput
from index.graph import Graph
from index.learning import fitted_on
from index.options import StoreOptions
from index.paging import cold_rows
from index.space import Space
from index.store import Store
from index.view import View
from index_cases import SPACE, fill, opened
from recall_cases import asked_of, collection, filled, view_of

ROWS, QUERIES = collection(450, 100)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """450 documents, not calibrated."""
    with filled(tmp_path_factory.mktemp("calibrating") / "data", ROWS) as store:
        yield store


def made(view: View, asked: Asked, seed: int = 0, price: float | None = None) -> Calibration:
    """A calibration for shortlists of any length."""
    return calibrate(view, asked, 10_000, lambda done, steps: None, seed, price)


def test_it_says_where_it_comes_from(store: Store) -> None:
    """Source, guarantee, number of queries and documents, the longest shortlist, what it belongs to."""
    asked = replace(asked_of(QUERIES), source="titles", guaranteed=False)
    told = made(store.view, asked)
    assert (told.source, told.guaranteed, told.queries, told.rows, told.most) == ("titles", False, 100, 450, 450)
    assert told.identity == calibrating.identity(store.view)
    assert told.calibration_id == calibrating.named(replace(told, calibration_id=""))
    assert [bucket.k for bucket in told.buckets] == [1, 3, 10, 30, 100]
    assert told.depth == 1.0  # a scan has none


def test_the_same_queries_teach_the_same(store: Store) -> None:
    """But for the time it took."""
    one, other = (made(store.view, asked_of(QUERIES)) for _ in range(2))
    plain = [replace(told, calibration_id="", made="", measured={}).to_json() for told in (one, other)]
    assert plain[0] == plain[1]


def test_a_row_of_its_own_is_left_out(store: Store) -> None:
    """A stored vector finds itself first, which says nothing; without itself it has to look for its neighbours."""
    chosen = np.random.default_rng(0).choice(450, size=100, replace=False)
    itself, others = (made(store.view, asked_of(ROWS[chosen], own)) for own in (None, chosen))
    easy, hard = (told.buckets[0].curves[1.0] for told in (itself, others))
    assert easy.recall[0] == 1.0
    assert hard.recall[0] < 0.9
    assert hard.recall[-1] == 1.0


def test_dead_rows_are_not_looked_for(tmp_path: Path) -> None:
    """What was deleted is neither among the exact results nor among the documents that match."""
    with filled(tmp_path / "data", ROWS) as store:
        store.delete_where({"third": True})
        told = made(store.view, asked_of(QUERIES))
        assert told.rows == 300
        curve = told.buckets[0].curves[1.0]
        assert curve.recall[-1] == 1.0
        assert curve.rows.max() <= 300


def test_a_graph_is_searched_as_deep_as_it_needs() -> None:
    """efSearch is chosen with the shortlist, and stored with it."""
    told = made(view_of(ROWS, in_graph=400), asked_of(QUERIES))
    assert told.depth in Graph.depths
    assert told.identity["first_stage"] == "float32"
    curve = told.buckets[2].curves[1.0]
    assert curve.recall[-1] >= 0.99


def test_rows_that_cost_more_are_fewer() -> None:
    """Looks come earlier and the order is corrected, but for packed codes, where rows are read from the disk."""
    view = view_of(ROWS)
    assert calibrating.row_price(view) == 1.0  # in memory
    near, far = (made(view, asked_of(QUERIES), price=price) for price in (None, 50.0))
    assert (near.corrects, far.corrects) == (False, True)
    for one, other in zip(near.buckets, far.buckets, strict=True):
        curves = one.curves[1.0], other.curves[1.0]
        reached = [int(np.argmax(curve.recall >= 0.95)) for curve in curves]
        first, rows = (
            [getattr(c, name)[at] for c, at in zip(curves, reached, strict=True)] for name in ("first", "rows")
        )
        assert first[0] >= first[1]
        assert rows[0] > 0.9 * rows[1]
    rule = far.rule(10, 0.9, 450)
    assert rule is not None
    assert rule.corrects


def test_rows_on_disk_are_told_from_those_in_memory(tmp_path: Path) -> None:
    """By the share of a sample that the kernel would have to read."""
    view, path = view_of(ROWS), tmp_path / "rows"
    with path.open("wb") as file:
        file.write(bytes(view.matrix.nbytes * 256))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    mapped = np.memmap(path, dtype=np.uint8, mode="r", shape=(len(ROWS) * 256, view.matrix.shape[1]))
    if not cold_rows(mapped, np.arange(len(mapped))):
        pytest.skip("this file system keeps its pages")
    assert calibrating.row_price(replace(view, matrix=mapped, rows=len(mapped))) == 1 + calibrating.COLD


@pytest.mark.parametrize(
    ("rows", "queries", "space", "words"),
    [
        (ROWS, QUERIES[:99], SPACE, "at least 100 queries, got 99"),
        (ROWS[:3], QUERIES, SPACE, "3 documents are searched exactly"),
        (ROWS[:0], QUERIES, SPACE, "0 documents"),
        (ROWS, QUERIES, Space(32, 8, {"model": "test"}, exact_only=True), "450 documents are searched exactly"),
    ],
)
def test_too_little_is_refused(rows: np.ndarray, queries: np.ndarray, space: Space, words: str) -> None:
    """With both numbers, before any work."""
    with pytest.raises(InvalidInput, match=words):
        made(view_of(rows, space=space), asked_of(queries))


def test_few_documents_calibrate_what_they_can() -> None:
    """Only those k that four times as many documents stand against."""
    told = made(view_of(ROWS[:60]), asked_of(QUERIES))
    assert [bucket.k for bucket in told.buckets] == [1, 3, 10]


def test_progress_rises_to_its_end(store: Store) -> None:
    """In many small steps, never back, and the last one is all of them."""
    told: list[tuple[int, int]] = []
    store.calibrate(asked_of(QUERIES), lambda done, steps: told.append((done, steps)))
    done, steps = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert len(set(steps)) == 1
    assert done[-1] == steps[0]
    assert len(told) > len(QUERIES)
    store.forget_calibration()


@pytest.mark.parametrize("calls", [0, 100])
def test_what_progress_raises_ends_the_work(tmp_path: Path, calls: int) -> None:
    """The calibration in force stays; nothing is written."""
    with opened(tmp_path / "data", StoreOptions(max_shortlist=200)) as store:
        fill(store, ROWS)
        before = store.calibrate(asked_of(QUERIES))
        assert before.most == 200
        written = store.layout.calibration.read_bytes()
        left = iter(range(calls))

        def cancel(done: int, steps: int) -> None:
            if next(left, None) is None:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            store.calibrate(asked_of(QUERIES[::-1]), cancel)
        assert store.calibration is before
        assert store.layout.calibration.read_bytes() == written


@pytest.mark.parametrize("number", [100, 300, 500, 501, 800, 1_600, 5_000])
def test_filters_are_tried_on_queries_that_the_models_did_not_see(number: int) -> None:
    """As many of those that the models are fitted on as of the filtered traces are; the others are all unseen."""
    chosen = filtered(number)
    assert len(chosen) == len(set(chosen)) == min(number, 500)
    seen = fitted_on(len(chosen))
    assert max(chosen[:seen]) < fitted_on(number) <= min(chosen[seen:])
    assert max(chosen) < number

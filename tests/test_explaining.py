"""What an answer tells of its own making, checked against what has to have happened."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import funnel
from index.calibrating import calibrate
from index.explaining import explained
from index.matryoshka import prefixes
from index.paging import cold_rows
from index.plan import Plan
from index.query import Answer, Query
from index.store import Store
from index.targeting import descend
from index_cases import best_ids, numbered
from recall_cases import allowed_of, asked_of, collection, filled, rule_of, view_of

ROWS, QUERIES = collection(2_000, 120)
BY_ID = dict(zip(numbered(2_000), ROWS, strict=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """2,000 documents, calibrated."""
    with filled(tmp_path_factory.mktemp("explaining") / "data", ROWS) as store:
        dear = calibrate(store.view, asked_of(QUERIES), 2_000, lambda done, steps: None, price=50.0)  # so it corrects
        assert store.measuring.put(dear)
        yield store


def explain(store: Store, **query: Any) -> Answer:
    """An answer that explains itself; its explanation is there."""
    answer = store.search(QUERIES[0], Query(explain=True, **query))[0]
    assert answer.explanation is not None
    return answer


def test_nothing_is_told_unless_asked_for(store: Store) -> None:
    """Whatever the plan."""
    for how in ({}, {"shortlist": 100}, {"exact": True}, {"target_recall": 0.9}):
        assert store.search(QUERIES[0], Query(**how))[0].explanation is None


def test_a_shortlist_is_its_candidates(store: Store) -> None:
    """Every prefix was compared, and the full vectors of the shortlist; no order was corrected, nothing stopped."""
    told = dict(explain(store, shortlist=100).explanation or {})
    assert told.pop("cold_rows") in (None, *range(101))
    assert told == {
        "candidates": 100, "reranked": 100, "distances": {"prefix": 2_000, "middle": 0, "full": 100},
        "corrections": 0, "matching": 2_000, "target_recall": None, "stop": None,
    }  # fmt: skip


def test_a_filter_narrows_what_is_compared(store: Store) -> None:
    """A narrow one's rows alone; `matching` is what passes."""
    told = explain(store, shortlist=100, filter={"n": {"$lt": 300}}).explanation
    assert told is not None
    assert (told["matching"], told["distances"]["prefix"], told["reranked"]) == (300, 300, 100)


def test_a_cascade_counts_its_middle(store: Store) -> None:
    """And reranks what that keeps."""
    told = explain(store, stages=((8, 200), (16, 50))).explanation
    assert told is not None
    assert (told["candidates"], told["reranked"]) == (200, 50)
    assert told["distances"] == {"prefix": 2_000, "middle": 200, "full": 50}


def test_without_rescore_no_full_vector_is_read(store: Store) -> None:
    """Only prefixes were compared."""
    told = explain(store, shortlist=100, rescore=False).explanation
    assert told is not None
    assert (told["candidates"], told["reranked"], told["distances"]["full"], told["cold_rows"]) == (100, 0, 0, 0)


@pytest.mark.parametrize("filter", [None, {"third": True}])
def test_an_exact_search_has_no_candidates(store: Store, filter: dict[str, Any] | None) -> None:
    """It compares everything that matches."""
    told = explain(store, exact=True, filter=filter).explanation
    matching = 2_000 if filter is None else 667
    assert told is not None
    assert (told["candidates"], told["reranked"], told["matching"]) == (None, matching, matching)
    assert told["distances"] == {"prefix": 0, "middle": 0, "full": matching}


def test_a_descent_tells_why_it_stopped(store: Store) -> None:
    """By the rule: the log rate is that of the share still missing, at most the threshold."""
    answer = explain(store, target_recall=0.95)
    told = answer.explanation
    assert told is not None
    assert told["candidates"] == told["reranked"] == told["distances"]["full"] == answer.stages[0][1]
    assert told["target_recall"] == 0.95
    stop = told["stop"]
    assert stop["reason"] == "rule"
    assert stop["log_rate"] <= stop["threshold"]
    assert np.exp(stop["log_rate"]) * told["reranked"] == pytest.approx(stop["estimated_missing"])


def test_hits_of_a_corrected_descent_have_their_true_prefix_places(store: Store) -> None:
    """Rank and cosine in the order of the query's own prefix, as if nothing had been corrected."""
    order = best_ids(dict(zip(BY_ID, prefixes(ROWS, 8), strict=True)), prefixes(QUERIES[:1], 8)[0], 2_000)
    answer = explain(store, target_recall=0.9, limit=20, offset=5)
    assert answer.explanation is not None
    assert answer.explanation["corrections"] > 0
    for place, hit in enumerate(answer.hits):
        assert hit.prefix_rank is not None
        assert abs(hit.prefix_rank - 1 - order.index(hit.doc_id)) <= 1  # two may tie
        cosine = prefixes(BY_ID[hit.doc_id][None], 8)[0] @ prefixes(QUERIES[:1], 8)[0]
        assert hit.prefix_score == pytest.approx(float(cosine), abs=1e-6)
        assert hit.full_rank == place + 6


@pytest.mark.parametrize(
    ("rate", "most", "late", "reason"),
    [(-4.0, 10_000, False, "rule"), (-60.0, 10_000, False, "exhausted"), (-60.0, 100, False, "longest"),
     (-60.0, 100, True, "timeout")],
)  # fmt: skip
def test_every_end_of_a_descent_has_a_name(rate: float, most: int, late: bool, reason: str) -> None:
    """The rule, the end of what matches, the longest shortlist there may be, the deadline."""
    view, plan = view_of(ROWS[:400]), Plan(((8, 400), (32, 10)), 10, "calibration", target=0.9, explain=True)
    deadline = 0.0 if late else None
    work = descend(view, QUERIES[0], plan, rule_of(rate, most=most), None, deadline).work
    assert work is not None
    told = explained(work, plan, 400)
    assert told["stop"]["reason"] == reason
    assert (told["stop"]["log_rate"] is None) == (reason == "exhausted")
    assert told["reranked"] == {"rule": 32, "exhausted": 400, "longest": 100, "timeout": 16}[reason]


def test_a_graph_does_not_tell_what_it_compared() -> None:
    """Null, not a guess; a scan of a narrow filter's rows is known."""
    view, plan = view_of(ROWS, in_graph=1_500), Plan(((8, 50), (32, 10)), 10, "request", explain=True)
    for allowed, prefix in ((None, None), (allowed_of(np.arange(2_000) < 100), 100)):
        work = funnel.search(view, QUERIES[:1], plan, allowed)[0].work
        assert work is not None
        assert work.prefix == prefix


def test_cold_rows_are_those_with_a_page_on_disk(tmp_path: Path) -> None:
    """A file's pages are dropped and some of its rows read again: all the others are cold."""
    path, shape = tmp_path / "rows", (256, 3 * mmap.PAGESIZE // 2)  # every other row begins within a page
    path.write_bytes(bytes(shape[0] * shape[1]))
    every, chosen = np.arange(256), np.array([200, 3, 4, 90])
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        matrix = np.memmap(file, dtype=np.uint8, mode="r", shape=shape)
        if not cold_rows(matrix, every):
            pytest.skip("this file system keeps its pages")
        assert cold_rows(matrix, every) == 256
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for row in chosen.tolist():
            os.pread(file.fileno(), shape[1], row * shape[1])
        assert cold_rows(matrix, chosen) == 0
        assert cold_rows(matrix, every[:0]) == 0
        assert cold_rows(matrix, every) in range(256 - 12, 256 - 3)  # a neighbour may lie on the same pages
        assert matrix.sum() == 0
        assert cold_rows(matrix, every) == 0

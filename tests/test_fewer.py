"""Fewer hits than wanted always say why."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from index import funnel, results
from index.query import Query
from index.store import Store
from recall_cases import collection, filled

ROWS, QUERIES = collection(300, 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """300 documents."""
    with filled(tmp_path_factory.mktemp("fewer") / "data", ROWS) as store:
        yield store


def fewer(store: Store, **query: Any) -> tuple[int, dict[str, Any] | None]:
    """The number of hits, and why there are no more."""
    answer = store.search(QUERIES[0], Query(**query))[0]
    return len(answer.hits), None if answer.fewer is None else dict(answer.fewer)


PLANS = ({}, {"exact": True}, {"shortlist": 400}, {"rescore": False, "shortlist": 400}, {"target_recall": 0.9})


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    ("query", "hits", "reason", "matching", "words"),
    [
        ({"limit": 400}, 300, "collection", 300, "the collection has 300 documents; limit 400"),
        ({"limit": 300, "exclude": "d00001"}, 299, "collection", 299, "300 documents, less the one that is left out"),
        ({"limit": 9, "filter": {"n": {"$lt": 4}}}, 4, "filter", 4, "4 documents of 300 pass the filter; limit 9"),
        ({"limit": 9, "filter": {"n": 7}}, 1, "filter", 1, "1 document of 300"),
        ({"limit": 9, "filter": {"n": -1}}, 0, "filter", 0, "0 documents of 300"),
        ({"limit": 20, "offset": 290}, 10, "offset", 300, "the offset 290 leaves 10 of 300 documents"),
        ({"limit": 20, "offset": 300}, 0, "offset", 300, "the offset 300 leaves 0 of 300 documents"),
        (
            {"limit": 9, "offset": 6, "filter": {"n": {"$lt": 4}}},
            0,
            "offset",
            4,
            "the offset 6 leaves 0 of 4 documents",
        ),
        (
            {"limit": 9, "offset": 1, "filter": {"n": {"$lt": 4}}},
            3,
            "offset",
            4,
            "the offset 1 leaves 3 of 4 documents",
        ),
        ({"limit": 9, "offset": 6, "filter": {"n": -1}}, 0, "filter", 0, "0 documents of 300"),
        ({"limit": 20, "score_threshold": 1.5}, 0, "score_threshold", 300, "score at least 1.5; limit 20"),
    ],
)
def test_each_reason_is_named(
    store: Store, plan: dict[str, Any], query: dict[str, Any], hits: int, reason: str, matching: int, words: str
) -> None:
    """With the number of documents that match, the number wanted and a sentence, whatever the plan."""
    found, told = fewer(store, **query, **plan)
    assert found == hits
    assert told is not None
    assert (told["reason"], told["matching"], told["wanted"]) == (reason, matching, query["limit"])
    assert words in told["detail"]


@pytest.mark.parametrize("plan", PLANS)
def test_as_many_as_wanted_need_no_reason(store: Store, plan: dict[str, Any]) -> None:
    """Also where a threshold, a filter or an offset took some away."""
    for query in (
        {"limit": 10},
        {"limit": 10, "offset": 290},
        {"limit": 10, "score_threshold": -1.0},
        {"limit": 100, "filter": {"third": True}},
        {"limit": 299, "exclude": "d00001"},
    ):
        found, told = fewer(store, **query, **plan)
        assert (found, told) == (query["limit"], None)


def test_a_threshold_is_the_reason_before_all_others(store: Store) -> None:
    """Half of the page is below it; that the filter lets too few pass for the limit is not what cut it."""
    scores = [hit.score for hit in store.search(QUERIES[0], Query(limit=20, filter={"n": {"$lt": 20}}))[0].hits]
    told = fewer(store, limit=50, filter={"n": {"$lt": 20}}, score_threshold=scores[9])
    assert told[0] == 10
    assert told[1] is not None
    assert (told[1]["reason"], told[1]["matching"]) == ("score_threshold", 20)
    second = fewer(store, limit=10, offset=5, score_threshold=scores[9], filter={"n": {"$lt": 20}})
    assert second[0] == 5
    assert second[1] is not None
    assert (
        second[1]["detail"] == f"5 of those found from offset 5 on score at least {scores[9]}; limit 10 from offset 5"
    )


def test_a_document_that_moves_while_it_is_read_is_a_reason(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last attempt leaves out what moved, and says so."""
    ids_of = results.ids_of
    monkeypatch.setattr(results, "as_of", lambda db, view: False)  # else it is damage
    monkeypatch.setattr(results, "ids_of", lambda db, rows: dict(list(ids_of(db, rows).items())[1:]))
    found, told = fewer(store, limit=10, shortlist=100)
    assert told is not None
    assert (found, told["reason"]) == (9, "moved")


def test_a_first_stage_that_reaches_too_few_is_a_reason(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a graph may whose links do not lead everywhere."""
    first_stage = funnel.first_stage

    def short(*given: Any) -> tuple[np.ndarray, np.ndarray, str]:
        rows, scores, strategy = first_stage(*given)
        return rows[:7], scores[:7], strategy

    monkeypatch.setattr(funnel, "first_stage", short)
    found, told = fewer(store, limit=10, shortlist=100)
    assert told is not None
    assert (found, told["reason"]) == (7, "first_stage")
    assert told["detail"] == "the first stage reached 7 of 300 documents; limit 10"

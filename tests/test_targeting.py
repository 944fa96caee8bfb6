"""Searches for a target recall, from the query to the answer."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import targeting
from index.errors import InvalidPlan
from index.plan import Plan, make_plan
from index.query import Answer, Query
from index.store import Store
from index_cases import assert_exact, numbered, opened
from recall_cases import asked_of, collection, filled, found_share, rule_of, view_of

ROWS, QUERIES = collection(3_000, 400)
CALIBRATED_ON, NEW = QUERIES[:200], QUERIES[200:]
BY_ID = dict(zip(numbered(3_000), ROWS, strict=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """3,000 documents, calibrated on queries like those that are asked."""
    with filled(tmp_path_factory.mktemp("targeting") / "data", ROWS) as store:
        store.calibrate(asked_of(CALIBRATED_ON))
        yield store


def asked(store: Store, queries: np.ndarray, **query: Any) -> list[Answer]:
    """The answers, without texts."""
    return store.search(queries, Query(with_text=False, with_metadata=False, **query))


def recalls(store: Store, answers: list[Answer], queries: np.ndarray, limit: int, **query: Any) -> np.ndarray:
    """recall@limit of each answer."""
    truth = asked(store, queries, exact=True, limit=limit, **query)
    pairs = zip(answers, truth, strict=True)
    return np.array([found_share([h.doc_id for h in a.hits], [h.doc_id for h in b.hits]) for a, b in pairs])


@pytest.mark.parametrize("limit", [1, 10, 30])
@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_a_target_is_met_on_new_queries(store: Store, limit: int, target: float) -> None:
    """Within what 200 queries can tell of synthetic topics; estimates are right on average; bounds hold for most."""
    answers = asked(store, NEW, limit=limit, target_recall=target)
    recall = recalls(store, answers, NEW, limit)
    noise = 2.5 * recall.std() / np.sqrt(len(NEW)) * np.sqrt(2)  # those asked, and those calibrated on
    assert target - noise <= recall.mean() <= target + noise + 0.02
    estimates = np.array([answer.recall_estimate for answer in answers])
    lower = np.array([answer.recall_lower for answer in answers])
    assert abs(estimates.mean() - recall.mean()) <= noise
    assert (recall >= lower - 1e-9).mean() >= 0.8  # 120 queries leave the bound itself uncertain
    assert {answer.shortlist_source for answer in answers} == {"calibration"}
    assert {answer.calibration_id for answer in answers} == {store.calibration and store.calibration.calibration_id}


def test_a_lower_target_costs_less(store: Store) -> None:
    """For every single query, not only on average: its shortlist begins with that of the lower target."""
    depths = [
        [answer.stages[0][1] for answer in asked(store, NEW, limit=10, target_recall=target)]
        for target in (0.5, 0.8, 0.9, 0.95)
    ]
    assert (np.diff(np.array(depths), axis=0) >= 0).all()
    means = [np.mean(depth) for depth in depths]
    assert means[0] < means[1] < means[2] < means[3]
    assert max(depths[3]) > 1.5 * min(depths[3])  # easy queries stop early, hard ones go deeper


def test_confidence_costs_more(store: Store) -> None:
    """And says so by nothing else than a deeper search."""
    plain, sure = (asked(store, NEW, limit=10, target_recall=0.85, confidence=how) for how in (None, 0.9))
    assert np.mean([a.stages[0][1] for a in sure]) > np.mean([a.stages[0][1] for a in plain])
    assert recalls(store, sure, NEW, 10).mean() >= recalls(store, plain, NEW, 10).mean()


@pytest.mark.parametrize("filter", [None, {"third": True}])
def test_a_target_of_one_is_exact(store: Store, filter: dict[str, Any] | None) -> None:
    """There is no other way to be sure."""
    among = {i: v for i, v in BY_ID.items() if filter is None or int(i[1:]) % 3 == 0}
    for query, answer in zip(NEW[:5], asked(store, NEW[:5], target_recall=1.0, filter=filter), strict=True):
        assert (answer.exact, answer.certified, answer.recall_estimate, answer.recall_lower) == (True, True, 1.0, 1.0)
        assert_exact(answer.hits, among, query, 10)


def test_a_target_that_is_met_nowhere_is_exact(store: Store) -> None:
    """200 queries cannot promise 0.999, nor is there a calibration for a thousand results: a scan it is."""
    for how in ({"target_recall": 0.999}, {"target_recall": 0.9, "limit": 1_000}):
        answer = asked(store, NEW[:1], **how)[0]
        assert (answer.exact, answer.certified, answer.stages) == (True, True, [(32, how.get("limit", 10))])


def test_a_narrow_filter_is_answered_exactly(store: Store) -> None:
    """A wide one by a descent, with a target that is met among what matches."""
    narrow = asked(store, NEW[:3], target_recall=0.9, filter={"n": {"$lt": 40}})
    assert all(answer.exact and answer.certified and len(answer.hits) == 10 for answer in narrow)
    wide = asked(store, NEW, target_recall=0.9, filter={"third": True})
    assert all(int(hit.doc_id[1:]) % 3 == 0 for answer in wide for hit in answer.hits)
    assert recalls(store, wide, NEW, 10, filter={"third": True}).mean() >= 0.87
    assert not all(answer.exact for answer in wide)


def test_pages_of_a_target_are_searched_for_all_of_them(store: Store) -> None:
    """limit + offset is what the target is met for."""
    whole = asked(store, NEW[:5], limit=30, target_recall=0.9)
    second = asked(store, NEW[:5], limit=20, offset=10, target_recall=0.9)
    for one, other in zip(whole, second, strict=True):
        assert [hit.doc_id for hit in one.hits[10:]] == [hit.doc_id for hit in other.hits]


def test_before_any_calibration_a_target_is_cautious_and_says_so(tmp_path: Path) -> None:
    """Longer than the default, longer for more, exact where that is as cheap; no number is claimed."""
    with filled(tmp_path / "data", ROWS) as store:
        default = asked(store, NEW[:1])[0].stages[0][1]
        for target, times in ((0.5, 1), (0.9, 1), (0.95, 2)):
            answers = asked(store, NEW, target_recall=target)
            assert {(a.shortlist_source, a.stages[0][1], a.calibration_id) for a in answers} == {
                ("uncalibrated", times * default, None)
            }
            assert {a.recall_estimate for a in answers} <= {None, 1.0}
            assert recalls(store, answers, NEW, 10).mean() >= target
        for target in (0.98, 0.999):
            answer = asked(store, NEW[:1], target_recall=target)[0]
            assert (answer.shortlist_source, answer.exact) == ("uncalibrated", True)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"target_recall": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"target_recall": 1.01}, "above 0 and at most 1, got 1.01"),
        ({"target_recall": float("nan")}, "above 0 and at most 1, got nan"),
        ({"target_recall": 0.9, "confidence": 1.0}, "between 0 and 1 .* got 1.0"),
        ({"confidence": 0.9}, "needs a target_recall, got 0.9"),
        ({"target_recall": 0.9, "shortlist": 100}, "shortlist and target_recall exclude"),
        ({"target_recall": 0.9, "exact": True}, "exact and target_recall exclude"),
        ({"target_recall": 0.9, "rescore": False}, "target_recall and rescore=false exclude"),
    ],
)
def test_impossible_targets_are_refused(store: Store, query: dict[str, Any], words: str) -> None:
    """With the number that was given."""
    with pytest.raises(InvalidPlan, match=words):
        asked(store, NEW[:1], **query)


def test_a_deadline_ends_a_descent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was scored by then, at least as many as were wanted; it says so, and estimates what that is worth."""
    clock = time.monotonic
    monkeypatch.setattr(targeting.time, "monotonic", lambda: clock() + 1e3)
    view, calibration = store.view, store.calibration
    assert calibration is not None
    rule = calibration.rule(10, 0.95, view.count)
    assert rule is not None
    plan = make_plan(Query(limit=10, target_recall=0.95), view.space, view.count, store.options, calibration.most)
    eager = replace(rule, first=16)
    late = [targeting.descend(view, query, plan, eager, None, clock() + 1) for query in NEW]
    cut = [ranking for ranking in late if ranking.reranked is not None]
    assert len(cut) > len(NEW) / 2  # the others had ended by then
    assert all(ranking.reranked == 16 and len(ranking.rows) >= 10 for ranking in cut)
    estimates = [ranking.estimate[0] for ranking in cut if isinstance(ranking.estimate, tuple)]
    assert len(estimates) == len(cut)
    assert np.mean(estimates) < 0.95


def test_the_default_becomes_a_target_once_there_is_a_calibration(store: Store, tmp_path: Path) -> None:
    """Unless the options say otherwise; a request for a shortlist stays one, and gets an estimate."""
    answer = asked(store, NEW[:1])[0]
    assert (answer.shortlist_source, answer.target_recall) == ("calibration", store.options.default_recall)
    answers = asked(store, NEW, shortlist=150)
    assert {(a.shortlist_source, a.stages[0][1], a.target_recall) for a in answers} == {("request", 150, None)}
    recall = recalls(store, answers, NEW, 10)
    assert np.mean([a.recall_estimate for a in answers]) == pytest.approx(recall.mean(), abs=0.03)
    with opened(tmp_path / "empty") as empty:
        assert asked(empty, NEW[:1], target_recall=0.9)[0].hits == []


@pytest.mark.parametrize("most", [1, 9, 10, 14])
def test_no_fewer_rows_than_wanted_are_scored(most: int) -> None:
    """Where the longest shortlist is less than one and a half times that, too."""
    plan = Plan(((8, 10), (32, 10)), 10, "calibration", target=0.9)
    ranking = targeting.descend(view_of(ROWS[:300]), NEW[0], plan, rule_of(-1e3, most=most), None, None)
    assert len(ranking.rows) >= 10
    assert len(set(ranking.rows.tolist())) == len(ranking.rows)

"""Filters, against a brute-force reading of the same metadata in Python."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filter_oracle import filters, matches, metadatas, named, number
from index.document import Document
from index.errors import InvalidFilter, InvalidInput
from index.filters import MAX_VALUES, parse
from index.filters import matches as holds
from index.query import Query
from index.store import Store
from index.view import View
from index_cases import opened, unit_vectors


def put(store: Store, metadatas: list[dict[str, Any]], seed: int = 0) -> None:
    """Replace what is stored by a document for each metadata."""
    vectors = unit_vectors(len(metadatas), seed=seed)
    store.write([Document(f"{i}", "t", metadata=m, vector=vectors[i]) for i, m in enumerate(metadatas)], {})


def matching(store: Store, filter: dict[str, Any]) -> list[int]:
    """Numbers of the documents that a scroll with a filter finds."""
    return sorted(int(document.doc_id) for document in store.scroll(1_000, filter=filter)[0])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store."""
    with opened(tmp_path_factory.mktemp("filters") / "data") as store:
        yield store


def late(store: Store, before: View, calls: int = 2) -> Callable[..., View]:
    """The newest view, but `before` for the first calls: what a request sees that began a moment ago."""
    stale = iter([before] * calls)
    return lambda *_: next(stale, None) or store._writer.view


@settings(max_examples=150)
@given(stored=st.lists(metadatas, min_size=1, max_size=6), asked=st.lists(filters, min_size=1, max_size=6))
def test_filters_match_what_a_scan_matches(
    store: Store, stored: list[dict[str, Any]], asked: list[dict[str, Any]]
) -> None:
    """Odd keys, arrays of objects, booleans beside numbers, huge integers, -0.0; as metadata changes in place."""
    store.delete([f"{i}" for i in range(6)])
    for version in (stored, stored[::-1]):  # the second write changes metadata in place
        put(store, version)
        for filter in asked:
            expected = [i for i, metadata in enumerate(version) if matches(metadata, filter)]
            assert matching(store, filter) == expected, filter
            assert store.count(filter) == len(expected)
            assert [i for i, metadata in enumerate(version) if holds(parse(filter), metadata)] == expected


DOCS: list[dict[str, Any]] = [
    {},
    {"k": None},
    {"k": 1},
    {"k": 1.0},
    {"k": True},
    {"k": "1"},
    {"k": [1, 2, "x"]},
    {"k": []},
    {"k": {}},
    {"k": {"in": 3}},
    {"k": [{"in": 3}, {"in": 4}]},
    {"k": -0.0},
    {"k": 2**53 + 1},
]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of DOCS."""
    with opened(tmp_path_factory.mktemp("filters") / "data") as store:
        put(store, DOCS)
        yield store


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({}, list(range(13))),
        ({"k": 1}, [2, 3, 6]),
        ({"k": 1.0}, [2, 3, 6]),
        ({"k": True}, [4]),
        ({"k": "1"}, [5]),
        ({"k": None}, [1]),
        ({"k": 0}, [11]),
        ({"k": 2**53}, []),
        ({"k": float(2**53)}, []),
        ({"k": {"$exists": True}}, list(range(1, 13))),
        ({"k": {"$exists": False}}, [0]),
        ({"k": {"$ne": 1}}, [0, 1, 4, 5, 7, 8, 9, 10, 11, 12]),
        ({"k": {"$nin": [1, None]}}, [0, 4, 5, 7, 8, 9, 10, 11, 12]),
        ({"k": {"$in": []}}, []),
        ({"k": {"$nin": []}}, list(range(13))),
        ({"k": {"$in": [True, "1", 0, 7]}}, [4, 5, 11]),
        ({"k": {"$contains": 2}}, [6]),
        ({"k": {"$gt": 1}}, [6, 12]),
        ({"k": {"$gte": 1, "$lt": 2}}, [2, 3, 6]),
        ({"k": {"$lte": "1"}}, [5]),
        ({"k": {"$not": {"$gt": 1}}}, [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
        ({"k.in": 3}, [9, 10]),
        ({"k.in": {"$gt": 3}}, [10]),
        ({"$or": [{"k": 1}, {"k": None}]}, [1, 2, 3, 6]),
        ({"$and": [{"k": 1}, {"k": 2}]}, [6]),
        ({"$not": {"k": {"$exists": True}}}, [0]),
        ({"none": {"$ne": 1}}, list(range(13))),
        ({"none": {"$gt": 1}}, []),
        ({"k": float("inf")}, []),
        ({"k": {"$lt": float("inf")}}, [2, 3, 6, 11, 12]),
    ],
    ids=str,
)
def test_the_rules_by_hand(by_hand: Store, filter: dict[str, Any], expected: list[int]) -> None:
    """A type mismatch never matches; a missing key matches only $exists: false, $ne, $nin and $not."""
    assert matching(by_hand, filter) == expected == [i for i, m in enumerate(DOCS) if matches(m, filter)]


def nested(depth: int) -> dict[str, Any]:
    """A filter of that many $not."""
    filter: dict[str, Any] = {"k": 1}
    for _ in range(depth):
        filter = {"$not": filter}
    return filter


@pytest.mark.parametrize(
    ("filter", "where"),
    [
        ([], "filter must be an object, got a list"),
        ({"$nor": []}, r"filter\.\$nor: unknown operator"),
        ({"k": {"$regex": "x"}}, r"filter\.k\.\$regex: unknown operator"),
        ({"k": {"in": 3}}, r"filter\.k\.in: unknown operator"),
        ({"k": {}}, "empty condition"),
        ({"k": [1]}, r"filter\.k must be a string, number, boolean or null, got a list"),
        ({"k": {"$eq": {"a": 1}}}, "got an object"),
        ({"$and": []}, "non-empty list"),
        ({"$and": [{}]}, r"filter\.\$and\[0\] is empty"),
        ({"$or": [{"k": 1}, {}]}, r"filter\.\$or\[1\] is empty"),
        ({"$not": {}}, r"filter\.\$not is empty"),
        ({"$or": {"k": 1}}, "non-empty list"),
        ({"$or": "k"}, "non-empty list"),
        ({"$or": [1]}, r"filter\.\$or\[0\] must be an object, got a number"),
        ({"$not": [{"k": 1}]}, "must be an object"),
        ({"k": {"$not": 3}}, "must be a condition"),
        ({"k": {"$not": {}}}, "must be a condition"),
        ({"k": {"$in": 3}}, "must be a list"),
        ({"k": {"$in": "abc"}}, "must be a list"),
        ({"k": {"$in": [[1]]}}, r"\$in\[0\] must be a string"),
        ({"k": {"$gt": True}}, "must be a number or a string, got a boolean"),
        ({"k": {"$lt": None}}, "must be a number or a string, got null"),
        ({"k": {"$exists": 1}}, "must be true or false"),
        ({"k": float("nan")}, "NaN"),
        ({"k": {"$gt": float("nan")}}, "NaN"),
        ({"k": "\ud800"}, "not valid Unicode"),
        ({"k": {"$in": ["\ud800"]}}, "not valid Unicode"),
        ({"\ud800": 1}, "not valid Unicode"),
        ({3: 1}, "not valid Unicode"),
        (nested(33), "at most 32 deep"),
        (nested(5_000), "at most 32 deep"),
        ({"k": {"$in": list(range(MAX_VALUES + 1))}}, "at most 10000 values, got 10001"),
        ({"$or": [{"k": i} for i in range(1_001)]}, "at most 1000 conditions, got 1001"),
        ({"$or": [{"k": 1}] * 50_000}, "at most 33000 keys, and as many values in a list, got 50000"),
        ({"$and": [{"$or": [{"k": 1}] * 1_000}] * 1_000}, "at most 33000 keys, .* got 33"),
    ],
)
def test_a_faulty_filter_is_refused_and_the_place_named(filter: Any, where: str) -> None:
    """Whatever it is: never another exception, never a silent guess."""
    with pytest.raises(InvalidFilter, match=where):
        parse(filter)


def test_a_condition_may_be_nested_as_deep_as_a_filter() -> None:
    """$not inside of a condition counts, too."""
    condition: Any = {"$gt": 1}
    for _ in range(40):
        condition = {"$not": condition}
    with pytest.raises(InvalidFilter, match="32 deep"):
        parse({"k": condition})
    assert parse(nested(31))


def test_ten_thousand_values_are_one_look_up(store: Store) -> None:
    """A long $in is answered at once and is one cached bitmap a type."""
    store.delete([f"{i}" for i in range(6)])
    put(store, [{"n": i, "s": f"{i}"} for i in range(6)])
    asked = {"n": {"$in": [*range(3, 10_000), "4", True]}}
    assert matching(store, asked) == [3, 4, 5]
    assert matching(store, {"n": {"$nin": list(range(3, 10_000))}}) == [0, 1, 2]


def test_a_search_finds_only_what_matches(store: Store) -> None:
    """And everything that matches when the limit allows."""
    store.delete([f"{i}" for i in range(6)])
    put(store, [{"n": i} for i in range(6)])
    answer = store.search(unit_vectors(1), Query(filter={"n": {"$gte": 4}}))[0]
    assert sorted(hit.doc_id for hit in answer.hits) == ["4", "5"]
    assert answer.exact
    assert answer.filter_strategy == "exact_subset"
    assert store.search(unit_vectors(1), Query(filter={"n": 99}))[0].hits == []


def test_deleting_by_filter_deletes_what_matches(store: Store) -> None:
    """As of the commit, and never everything by an empty filter."""
    store.delete([f"{i}" for i in range(6)])
    put(store, [{"n": i} for i in range(6)])
    empties: list[Any] = [{}, None, [], {"$and": [{}]}, {"$or": [{}, {"n": 1}]}, {"$not": {"$not": {}}}]
    for empty in empties:
        with pytest.raises(InvalidInput):
            store.delete_where(empty)
    assert store.delete_where({"n": {"$lt": 2}}) == 2
    assert store.delete_where({"n": {"$lt": 2}}) == 0
    assert store.delete_where({"n": {"$not": {"$gt": 4}}}) == 3
    assert matching(store, {}) == [5]


def test_the_oracle_by_hand() -> None:
    """The brute force itself: what it names in nested arrays and objects."""
    metadata = {"a": [{"b": 1}, {"b": [2, {"": 3}]}], "": {"b": 4}}
    assert named(metadata, "a.b") == [1, 2, {}]
    assert named(metadata, "a.b.") == [3]
    assert named(metadata, ".b") == [4]
    assert np.isinf(number(10**400))


def test_a_hit_passes_the_filter_as_it_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata that changes in place while a search is under way: the hit's is the new one, so it is searched again."""
    put(store, [{"k": 1}, {"k": 1}])
    query, vectors = Query(filter={"k": 1}), unit_vectors(1)
    before = store.view
    assert {hit.doc_id for hit in store.search(vectors, query)[0].hits} == {"0", "1"}
    store.update_metadata("1", lambda _: {"k": 2})
    newest = late(store, before)
    monkeypatch.setattr(store._searcher, "_newest", newest)
    (answer,) = store.search(vectors, query)
    assert [(hit.doc_id, hit.metadata) for hit in answer.hits] == [("0", {"k": 1})]


def test_documents_that_are_written_again_meanwhile_match(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are at new rows, which the view does not have yet: counting, listing and searching begin again."""
    put(store, [{"k": 1}, {"k": 1}])
    before = store.view
    put(store, [{"k": 1}, {"k": 1}], seed=1)
    monkeypatch.setattr(store._searcher, "_newest", late(store, before))
    assert len(store.search(unit_vectors(1), Query(filter={"k": 1}))[0].hits) == 2
    monkeypatch.setattr(store._reader, "_newest", late(store, before))
    assert matching(store, {"k": 1}) == [0, 1]
    monkeypatch.setattr(Store, "view", property(late(store, before)))
    assert store.count({"k": 1}) == 2


def test_a_view_that_is_never_published(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that lost track of its disk has no newer view: after a moment, what it has is searched."""
    put(store, [{"k": 1}, {"k": 1}])
    before = store.view
    put(store, [{"k": 1}, {"k": 2}, {"k": 1}], seed=1)
    monkeypatch.setattr(store._reader, "_newest", lambda: before)
    assert matching(store, {"k": 1}) == []
    monkeypatch.setattr(store._searcher, "_newest", lambda: before)
    assert store.search(unit_vectors(1), Query(filter={"k": 1}))[0].hits == []

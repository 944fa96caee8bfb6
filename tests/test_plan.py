"""From a query to its stages."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import InvalidPlan
from index.options import StoreOptions
from index.plan import default_shortlist, make_plan
from index.query import Query
from index.space import Space

SPACE, OPTIONS = Space(768, 64), StoreOptions()
MANY = 1_000_000


@pytest.mark.parametrize(
    ("query", "count", "stages", "source", "exact"),
    [
        (Query(), MANY, [(64, 800), (768, 10)], "default", False),
        (Query(limit=5, offset=5), MANY, [(64, 800), (768, 10)], "default", False),
        (Query(limit=100), MANY, [(64, 1_000), (768, 100)], "default", False),
        (Query(), 100, [(768, 10)], "default", True),
        (Query(), 0, [(768, 10)], "default", True),
        (Query(shortlist=10), MANY, [(64, 10), (768, 10)], "request", False),
        (Query(shortlist=10_000), MANY, [(64, 10_000), (768, 10)], "request", False),
        (Query(shortlist=MANY), MANY, [(768, 10)], "request", True),
        (Query(shortlist=10**30), MANY, [(768, 10)], "request", True),
        (Query(oversampling=1), MANY, [(64, 10), (768, 10)], "request", False),
        (Query(oversampling=2.45), MANY, [(64, 25), (768, 10)], "request", False),
        (Query(exact=True), MANY, [(768, 10)], "request", True),
        (Query(rescore=False, shortlist=50), MANY, [(64, 50)], "request", False),
        (Query(rescore=False, stages=((64, 50),)), MANY, [(64, 50)], "request", False),
        (Query(rescore=False, shortlist=50), 5, [(64, 50)], "request", False),
        (
            Query(stages=((64, 2_000), (256, 300))),
            MANY,
            [(64, 2_000), (256, 300), (768, 10)],
            "request",
            False,
        ),
        (Query(stages=((64, 500), (256, 10))), 400, [(64, 500), (256, 10), (768, 10)], "request", False),
        (Query(stages=((64, 500), (256, 400))), 400, [(768, 10)], "request", True),
    ],
)
def test_a_plan_says_what_will_run(
    query: Query, count: int, stages: list[tuple[int, int]], source: str, exact: bool
) -> None:
    """Effective stages, where the shortlist came from, and whether the answer is exact by construction."""
    plan = make_plan(query, SPACE, count, OPTIONS)
    assert (list(plan.stages), plan.source, plan.exact) == (stages, source, exact)
    assert plan.wanted == query.limit + query.offset


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(limit=0), "limit must be at least 1, got 0"),
        (Query(offset=-1), "offset must be at least 0, got -1"),
        (Query(limit=900, offset=101), r"limit \+ offset must be at most 1000, got 1001"),
        (Query(shortlist=9), r"at least limit \+ offset = 10, got 9"),
        (Query(shortlist=0), "got 0"),
        (Query(shortlist=10_001), "at most 10000, or at least the 1000000 documents"),
        (Query(oversampling=0.99), "at least 1, got 0.99"),
        (Query(oversampling=float("nan")), "at least 1, got nan"),
        (Query(oversampling=float("inf")), "at most 1000000"),
        (Query(oversampling=1_001), "at most 10000"),
        (Query(shortlist=50, exact=True), "exact and shortlist exclude"),
        (Query(shortlist=50, oversampling=5, stages=((64, 50),)), "shortlist and oversampling and stages exclude"),
        (Query(exact=True, rescore=False), "exclude each other"),
        (Query(rescore=False, stages=((64, 50), (256, 20))), "give one, got 2"),
        (Query(stages=()), "at least one stage"),
        (Query(stages=((32, 50),)), "64 dimensions, got 32"),
        (Query(stages=((64, 50), (64, 20))), "widen"),
        (Query(stages=((64, 50), (768, 20))), "stay below 768"),
        (Query(stages=((64, 50), (256, 60))), "keep more"),
        (Query(stages=((64, 50), (256, 5))), "at least limit"),
        (Query(stages=((64, 20_000), (256, 50))), "at most 10000"),
    ],
)
def test_what_cannot_be_is_refused_with_both_numbers(query: Query, message: str) -> None:
    """Nothing is clamped."""
    with pytest.raises(InvalidPlan, match=message):
        make_plan(query, SPACE, MANY, OPTIONS)


@pytest.mark.parametrize(
    ("limit", "count", "stages"),
    [
        (10, MANY, ((64, 50), (768, 10))),
        (60, MANY, ((64, 60), (768, 60))),
        (10, 200, ((768, 10),)),  # what covers everything is an exact scan
        (10, 201, ((64, 50), (768, 10))),
    ],
)
def test_a_default_shortlist_keeps_to_the_bound(limit: int, count: int, stages: tuple[tuple[int, int], ...]) -> None:
    """Where the bound is lower than the default, a search that asks for nothing special is still answered."""
    assert make_plan(Query(limit=limit), SPACE, count, StoreOptions(max_shortlist=50)).stages == stages


@pytest.mark.parametrize(
    "given_", [{"shortlist": 50}, {"oversampling": 5.0}, {"stages": ((64, 50),)}, {"rescore": False}]
)
def test_a_space_without_a_trained_prefix_is_searched_exactly(given_: dict[str, Any]) -> None:
    """And says so to whoever asks for a shortlist."""
    space = Space(768, 64, exact_only=True)
    assert make_plan(Query(), space, MANY, OPTIONS).exact
    assert make_plan(Query(exact=True), space, MANY, OPTIONS).stages == ((768, 10),)
    with pytest.raises(InvalidPlan, match=f"leave out {next(iter(given_))}"):
        make_plan(Query(**given_), space, MANY, OPTIONS)


@settings(max_examples=100)
@given(st.integers(1, 1_000), st.integers(0, 10**9), st.integers(1, 1_000), st.integers(0, 10**9))
def test_the_default_shortlist_grows_with_what_is_wanted_and_stored(a: int, m: int, b: int, n: int) -> None:
    """It is at least 200, never below limit + offset, and monotone; default plans are always legal."""
    small, large = default_shortlist(min(a, b), min(m, n)), default_shortlist(max(a, b), max(m, n))
    assert 200 <= small <= large
    assert small >= min(a, b)
    for most in (1, 50, 10_000):
        assert make_plan(Query(limit=a), SPACE, n, StoreOptions(max_shortlist=most)).source == "default"

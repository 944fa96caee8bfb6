"""The cache of filter bitmaps."""

import sqlite3
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.bits import unpack
from index.filters import Condition
from index.postings import Postings
from index.tables import SCHEMA

ONE = Condition("k", "=", "n", (1,))
ANY = Condition("k")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """An empty inverted table."""
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    yield db
    db.close()


def put(db: sqlite3.Connection, row: int, value: int) -> None:
    """Give a row the value of k."""
    db.execute("INSERT OR IGNORE INTO metadata VALUES ('k', 'n', ?, ?)", (value, row))


def rows(postings: Postings, db: sqlite3.Connection, condition: Condition, count: int, epoch: int = 0) -> list[int]:
    """Rows below `count` that satisfy a condition."""
    packed = postings.bitmap(db, condition, count, epoch)
    assert len(packed) == (count + 7) // 8
    return np.flatnonzero(unpack(packed, count)).tolist()


@settings(max_examples=100)
@given(ones=st.lists(st.booleans(), min_size=1, max_size=60), cuts=st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_a_bitmap_grows_with_the_rows(ones: list[bool], cuts: list[int]) -> None:
    """Asked at any number of rows in any order, it holds the matching rows below that number."""
    db, postings = sqlite3.connect(":memory:"), Postings()
    db.executescript(SCHEMA)
    for row, one in enumerate(ones):
        put(db, row, int(one))
    for cut in cuts:
        count = min(cut, len(ones))
        assert rows(postings, db, ONE, count) == [row for row in range(count) if ones[row]]
        assert rows(postings, db, ANY, count) == list(range(count))
    db.close()


def test_appended_rows_are_looked_up_alone(db: sqlite3.Connection) -> None:
    """What was found before is not asked again within an epoch, and is in the next."""
    postings = Postings()
    put(db, 3, 1)
    assert rows(postings, db, ONE, 10) == [3]
    db.execute("DELETE FROM metadata")
    put(db, 12, 1)
    assert rows(postings, db, ONE, 14) == [3, 12]
    assert rows(postings, db, ONE, 14, epoch=1) == [12]


def test_an_older_view_gets_its_own_answer(db: sqlite3.Connection) -> None:
    """A search that began before a commit sees no row of it, whatever the cache holds."""
    postings = Postings()
    put(db, 1, 1)
    put(db, 9, 1)
    assert rows(postings, db, ONE, 10) == [1, 9]
    assert rows(postings, db, ONE, 9) == [1]
    assert rows(postings, db, ONE, 10) == [1, 9]


def test_the_cache_keeps_to_its_budget(db: sqlite3.Connection) -> None:
    """The oldest bitmaps go; the count of bytes stays right; no budget means no cache."""
    postings = Postings(budget=10_000)
    for value in range(50):
        rows(postings, db, Condition("k", "=", "n", (value,)), 80)
        assert postings.cached_bytes <= 10_000
    assert postings.cached_bytes > 10_000 - 1_000
    rows(postings, db, Condition("k", "=", "n", (49,)), 160)
    alone = Postings()
    for condition, cached in postings._cache.items():
        rows(alone, db, condition, cached.rows)
    assert postings.cached_bytes == alone.cached_bytes <= 10_000
    none = Postings(budget=0)
    rows(none, db, ONE, 80)
    assert none.cached_bytes == 0


def test_the_budget_is_of_real_memory(db: sqlite3.Connection) -> None:
    """Thousands of conditions on few rows, and lists of thousands of strings, do not grow past it."""
    budget = 2 << 20
    postings = Postings(budget)
    tracemalloc.start()
    try:
        for number in range(5_000):
            rows(postings, db, Condition(f"key {number}", "=", "s", (f"value {number}",)), 8)
        for number in range(5):
            strings = tuple(f"{number} {value:>60}" for value in range(10_000))
            rows(postings, db, Condition("k", "IN", "s", strings), 8)
        del strings
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * budget
    assert len(postings._cache) > 0


@pytest.mark.parametrize(
    "condition", [ONE, Condition("k", "IN", "n", tuple(range(100))), Condition("k", ">", "n", (0,))]
)
def test_conditions_are_answered_from_the_tables_order(db: sqlite3.Connection, condition: Condition) -> None:
    """No condition reads the whole table, nor all values of its key."""
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    put(db, 0, 1)
    assert rows(Postings(), db, condition, 1) == [0]
    sql = next(s for s in statements if s.startswith("SELECT"))
    (plan,) = [detail for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert "SEARCH metadata USING PRIMARY KEY (key=? AND type=? AND value" in plan

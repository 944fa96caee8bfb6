"""A descent: rows reranked in chunks down the prefix order, which what they score corrects."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.descent import SIGNS, Descent, lengths, signs
from index.exact import exact
from index.explaining import Work
from index.rerank import rerank
from index.view import View
from recall_cases import allowed_of, collection, unit, view_of

ROWS, QUERIES = collection(1_200, 30)
RANDOM = np.random.default_rng(0).random(1_200) < 0.3
VIEWS = {
    "flat": view_of(ROWS),
    "graph": view_of(ROWS, in_graph=1_000),
    "codes": view_of(ROWS, "int8", in_graph=1_000, codes="int8"),
    "bfloat16": view_of(ROWS, "bfloat16"),
}


def scores_of(view: View, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Full scores as the rerank gives them."""
    return rerank(view, query, rows, len(rows), None)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("corrects", [False, True])
def test_chunks_are_nested_and_end_with_everything(name: str, filtered: bool, corrects: bool) -> None:
    """No row twice, none that the filter keeps out, each with its exact score, whatever the lengths; at the end all."""
    view, allowed = VIEWS[name], allowed_of(RANDOM) if filtered else None
    for query in QUERIES[:4]:
        descent, seen = Descent(view, query, allowed, corrects=corrects), np.empty(0, dtype=np.int64)
        for length in (1, 2, 8, 63, 64, 65, 100, 257, 700, 5_000):
            descent.extend(length)
            assert len(descent.rows) == min(length, descent.matching)
            assert descent.rows[: len(seen)].tolist() == seen.tolist()
            assert descent.scores.tolist() == scores_of(view, query, descent.rows).tolist()
            seen = descent.rows.copy()
        assert descent.exhausted
        assert sorted(seen.tolist()) == (np.flatnonzero(RANDOM).tolist() if filtered else list(range(1_200)))


def test_the_way_down_does_not_depend_on_the_chunks() -> None:
    """In one go or in many: the same rows in the same order, so that a stop only cuts a list."""
    for query in QUERIES[:4]:
        whole, parts = (Descent(VIEWS["flat"], query, None) for _ in range(2))
        whole.extend(900)
        for length in (7, 50, 64, 200, 256, 900):
            parts.extend(length)
        assert whole.rows.tolist() == parts.rows.tolist()


def test_without_corrections_the_order_is_that_of_the_prefixes() -> None:
    """Row for row; with them the first 64 rows are."""
    view = VIEWS["flat"]
    for query in QUERIES[:4]:
        order = view.shortlist.scan(view.prefixes(query[None])[0], 1_200, np.arange(1_200))[0]
        plain, corrected = Descent(view, query, None, corrects=False), Descent(view, query, None)
        for descent in (plain, corrected):
            descent.extend(600)
        assert plain.rows.tolist() == order[:600].tolist()
        assert corrected.rows[:64].tolist() == order[:64].tolist()


def test_corrections_find_more_of_the_best() -> None:
    """Over all queries, the exact top ten are found after fewer rows than in plain prefix order."""
    view, depths = VIEWS["flat"], {True: 0, False: 0}
    for query, (best, _) in zip(QUERIES, exact(view, QUERIES, 10), strict=True):
        for corrects in depths:
            descent = Descent(view, query, None, corrects=corrects)
            descent.extend(1_200)
            depths[corrects] += int(np.flatnonzero(np.isin(descent.rows, best[:10])).max())
    assert depths[True] < depths[False]


@settings(max_examples=60)
@given(
    st.sampled_from([1, 2, 3, 7, 70, 300]),
    st.integers(0, 1_000),
    st.sampled_from(["random", "equal", "no prefix", "prefix alone", "stored"]),
    st.sampled_from(["float32", "int16", "bfloat16", "int8"]),
    st.integers(1, 400),
)
def test_odd_collections_are_searched_to_the_end(rows: int, seed: int, kind: str, storage: str, first: int) -> None:
    """Tiny, all alike, without a prefix or with nothing else, a stored query: all is found, signs are finite."""
    vectors, queries = collection(rows, 1, seed)
    if kind == "equal":
        vectors[:] = vectors[0]
    if kind == "no prefix":
        vectors[:, :8] = 0
    if kind == "prefix alone":
        vectors[:, 8:] = 0
    view, query = view_of(unit(vectors), storage), vectors[0] if kind == "stored" else queries[0]
    descent = Descent(view, unit(query), None)
    for length in (first, rows):
        descent.extend(length)
        if len(descent.rows) >= 2:
            assert np.isfinite(descent.signs(min(10, len(descent.rows)))).all()
    assert sorted(descent.rows.tolist()) == list(range(rows))
    best = exact(view, unit(query)[None], 1)[0][1][0]
    assert descent.scores.max() == best


def test_nothing_matches() -> None:
    """A filter that lets nothing pass is exhausted at once."""
    descent = Descent(VIEWS["flat"], QUERIES[0], allowed_of(np.zeros(1_200, dtype=bool)))
    descent.extend(10)
    assert descent.exhausted
    assert len(descent.rows) == 0


@pytest.mark.parametrize("most", [1, 8, 9, 64, 100, 1_000])
def test_lengths_rise_to_the_most(most: int) -> None:
    """By at most a doubling each, the last is the most there may be."""
    made = list(lengths(most))
    assert made[-1] == most
    assert all(a < b <= 2 * a for a, b in itertools.pairwise(made))


def test_signs_say_what_they_are_called() -> None:
    """Worked out by hand for four rows on a line: nothing is left of the scores once the order explains them."""
    scores, order = (np.array(values, dtype=np.float32) for values in ([0.9, 0.7, 0.5, 0.3], [0.8, 0.6, 0.4, 0.2]))
    told = dict(zip(SIGNS, signs(scores, order, 0.1, 40, 2), strict=True))
    spread = math.exp(told["log_spread"])
    assert spread == pytest.approx(1e-3, rel=1e-2)  # the least variance, 1e-6
    assert told["margin"] * spread == pytest.approx(0.7 - 0.2, abs=1e-6)  # the next row is expected at 0.2
    assert told["lead"] * spread == pytest.approx(0.2, abs=1e-6)
    assert told["half_margin"] * spread == pytest.approx(0.7 - 0.5, abs=1e-6)
    assert told["log_rows"] == pytest.approx(math.log(4))
    assert told["log_left"] == pytest.approx(math.log(10))
    assert (told["last"], told["late"]) == (0.5, 0.0)


def test_the_work_is_counted() -> None:
    """Prefixes compared, corrections made and rows read, all of them in memory here or unknown."""
    work = Work()
    descent = Descent(VIEWS["flat"], QUERIES[0], None, work=work)
    assert work.prefix == 1_200
    descent.extend(600)
    assert work.corrections == 2  # at 64 and at 256 rows
    assert work.prefix is not None
    assert work.prefix >= 1_200 + 64 + 256
    assert work.cold in (0, None)
    Descent(VIEWS["graph"], QUERIES[0], None, work=work)
    assert work.prefix is None

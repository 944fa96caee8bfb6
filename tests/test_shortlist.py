"""The first stage: graph and tail."""

import numpy as np
import pytest

import index.shortlist as shortlist_module
from index import bits
from index.graph import Graph
from index.scan import best
from index.shortlist import MIN_TAIL, Shortlist
from index_cases import unit_vectors

DIM = 8
P = unit_vectors(3_000, DIM)


def flat(rows: int) -> Shortlist:
    """A shortlist that is all tail."""
    return Shortlist.empty(DIM).appended(P[:rows])


def mixed(rows: int, graph_rows: int, codes: str = "float32") -> Shortlist:
    """A shortlist of a graph and a tail."""
    graph = Graph.empty(P[:1_000], codes).extended(P[:graph_rows])
    assert graph is not None
    return flat(rows).with_older(graph)


@pytest.mark.parametrize("rows", [0, 1, 7, 1_500])
@pytest.mark.parametrize("keep", [1, 10, 5_000])
@pytest.mark.parametrize("share", [None, 0.0, 0.01, 0.5, 1.0])
def test_the_tail_is_searched_exactly(rows: int, keep: int, share: float | None) -> None:
    """Whatever is allowed; more wanted than there is gives all there is."""
    shortlist, query = flat(rows), unit_vectors(1, DIM, seed=1)[0]
    mask = np.ones(rows, dtype=bool) if share is None else np.random.default_rng(2).random(rows) < share
    found, scores = shortlist.search(query, keep, keep, None if share is None else bits.pack(mask))
    expected, truth = best(np.flatnonzero(mask), P[:rows][mask] @ query, keep)
    assert found.tolist() == expected.tolist()
    assert np.allclose(scores, truth, atol=1e-6)


@pytest.mark.parametrize(("rows", "graph_rows"), [(3_000, 1_003), (3_000, 3_000), (1_003, 1_003), (1_010, 1_003)])
@pytest.mark.parametrize("codes", ["float32", "int8"])
def test_graph_and_tail_answer_as_one(rows: int, graph_rows: int, codes: str) -> None:
    """Every row is in one of them, wherever the border falls in a byte of the bitmap; dead rows are in none."""
    shortlist, query = mixed(rows, graph_rows, codes), unit_vectors(1, DIM, seed=1)[0]
    assert (shortlist.rows, shortlist.older_rows, len(shortlist.tail)) == (rows, graph_rows, rows - graph_rows)
    mask = np.random.default_rng(2).random(rows) < 0.5
    for allowed in (None, bits.pack(mask)):
        found, scores = shortlist.search(query, 100, 400, allowed)
        wanted = np.arange(rows) if allowed is None else np.flatnonzero(mask)
        expected, _ = shortlist.scan(query, 100, wanted)
        assert len(set(found.tolist())) == 100
        assert np.isin(found, wanted).all()
        assert len(np.intersect1d(found, expected)) >= 95
        assert np.allclose(scores, P[found] @ query, atol=1e-6 if codes == "float32" else 3e-2)
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("graph_rows", [0, 1_003, 3_000])
def test_stored_prefixes_come_back_by_row(graph_rows: int) -> None:
    """From graph and tail, ascending rows, none at all too."""
    shortlist = mixed(3_000, graph_rows) if graph_rows else flat(3_000)
    for rows in ([], [0], [2_999], [5, 1_002, 1_003, 1_004, 2_000]):
        wanted = np.array(rows, dtype=np.int64)
        assert np.array_equal(shortlist.prefixes(wanted), P[wanted])


def test_an_older_shortlist_does_not_see_newer_rows() -> None:
    """Appending shares the buffer, or moves to a larger one; the old one answers as before."""
    old, query = flat(MIN_TAIL - 10), unit_vectors(1, DIM, seed=1)[0]
    before = old.search(query, 2_000, 0, None)[0]
    newer = old.appended(P[:5])
    assert newer.buffer is old.buffer
    newest = newer.appended(P[:500])
    assert newest.buffer is not old.buffer
    assert old.search(query, 2_000, 0, None)[0].tolist() == before.tolist()
    assert (newer.rows, newest.rows) == (MIN_TAIL - 5, MIN_TAIL + 495)
    assert np.array_equal(newest.tail, np.concatenate([P[: MIN_TAIL - 10], P[:5], P[:500]]))


def test_a_graph_takes_over_rows_of_the_tail() -> None:
    """Rows appended while the graph was built stay in the tail, and the old buffer is left alone."""
    shortlist = mixed(1_500, 1_200)
    graph = shortlist.older.extended(shortlist.tail) if shortlist.older else None
    assert graph is not None
    later = shortlist.appended(P[1_500:1_600]).with_older(graph)
    assert (later.rows, later.older_rows) == (1_600, 1_500)
    assert np.array_equal(later.tail, P[1_500:1_600])
    assert np.array_equal(shortlist.tail, P[1_200:1_500])
    assert later.memory_bytes > later.buffer.nbytes


@pytest.mark.parametrize("filtered", [False, True])
def test_a_large_graph_is_scanned_when_much_of_it_would_be_looked_at(
    filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the shortlist is exact: rows of the graph and of the tail, with and without a filter."""
    monkeypatch.setattr(shortlist_module, "SCANNED_FROM", 0)
    prefixes = unit_vectors(700, 8)
    graph = Graph.empty(prefixes, "float32").extended(prefixes[:600])
    assert graph is not None
    made = Shortlist.empty(8).with_older(graph).appended(prefixes[600:])
    mask = np.arange(700) % 3 > 0 if filtered else np.ones(700, dtype=bool)
    for query in unit_vectors(20, 8, seed=1):
        found, scores = made.search(query, 50, 50, bits.pack(mask) if filtered else None)
        expected = np.flatnonzero(mask)
        expected = expected[np.argsort(-(prefixes[expected] @ query), kind="stable")[:50]]
        assert found.tolist() == expected.tolist()
        np.testing.assert_allclose(scores, prefixes[found] @ query, atol=1e-6)

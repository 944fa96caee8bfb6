"""Packed codes: every row compared by 4-bit codes, with filters, in a store, and mixed with the tail."""

from pathlib import Path

import numpy as np
import pytest

from index import bits
from index.coding import load_older, make_older
from index.document import Document
from index.evaluation import recall_at_k
from index.options import PACKED as CODES
from index.options import StoreOptions
from index.packed import Packed
from index.query import Query
from index.space import Space
from index.store import Store
from index.verify import verify
from index_cases import PACKED, fill, opened, unit_vectors, until

ROWS = 2_500
P = unit_vectors(ROWS, 64, seed=3)
QUERIES = unit_vectors(20, 64, seed=4)


@pytest.fixture(scope="module")
def packed() -> Packed:
    """All rows of P."""
    made = make_older(P, CODES, ROWS).extended(P)
    assert isinstance(made, Packed)
    return made


def test_the_order_is_nearly_that_of_the_prefixes(packed: Packed) -> None:
    """Of the best 10, most are among the best 30 by codes; scores differ by the rounding."""
    found = []
    for query in QUERIES:
        exact = P @ query
        rows, scores = packed.search(query, 30, 0, None)
        found.append(recall_at_k(rows.tolist(), np.argsort(-exact)[:10].tolist(), 10))
        assert np.all(np.diff(scores) <= 0)
        assert np.abs(scores - exact[rows]).max() < 0.1
    assert np.mean(found) > 0.7  # of random vectors, the hardest


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01, 0.0])
def test_a_filter_lets_pass_exactly_its_rows(packed: Packed, share: float) -> None:
    """And the best of them are those that a search without it finds first."""
    allowed = np.random.default_rng(1).random(ROWS) < share
    everything, scores = packed.search(QUERIES[0], ROWS, 0, None)
    assert sorted(everything.tolist()) == list(range(ROWS))
    rows, found = packed.search(QUERIES[0], 40, 0, bits.pack(allowed))
    inside = allowed[everything]
    assert len(rows) == min(40, inside.sum())
    assert found.tolist() == scores[inside][:40].tolist()
    assert allowed[rows].all()


def test_scores_of_rows_are_those_of_a_search(packed: Packed) -> None:
    """In the order of the rows, whichever are asked for."""
    rows, scores = packed.search(QUERIES[1], ROWS, 0, None)
    everything = scores[np.argsort(rows)]
    some = np.array([0, 31, 32, 33, 999, ROWS - 1])
    assert packed.scores(QUERIES[1], some).tolist() == everything[some].tolist()


def test_what_is_stored_is_what_the_codes_make_of_it(packed: Packed) -> None:
    """By slice and by row; verify compares the two."""
    rounded = packed.rounded(P)
    assert np.abs(packed.prefixes(slice(None)) - rounded).max() == 0
    assert np.array_equal(packed.prefixes(slice(40, 75)), rounded[40:75])
    rows = np.array([3, 700, 701, ROWS - 1])
    assert np.array_equal(packed.prefixes(rows), rounded[rows])
    assert 0 < np.abs(rounded - P).mean() < 0.02


@pytest.mark.parametrize(("dim", "code_bytes"), [(3, 2), (8, 4), (64, 32), (128, 64), (129, 65), (256, 64), (512, 128)])
def test_codes_take_half_a_byte_a_number_or_a_quarter(dim: int, code_bytes: int) -> None:
    """Two numbers share a code beyond 128 dimensions; any width can be packed."""
    rows = unit_vectors(700, dim)
    made = Packed.empty(rows).extended(rows)
    assert made is not None
    assert made.row_bytes == code_bytes + 8
    assert made.memory_bytes == 700 * made.row_bytes
    assert 5 in made.search(rows[5], 50, 0, None)[0]


@pytest.mark.parametrize("rows", [0, 1, 20])
def test_a_handful_of_rows_can_be_packed(rows: int) -> None:
    """After a compaction hardly any may be left."""
    few = unit_vectors(20, 16)[:rows]
    made = Packed.empty(few).extended(few)
    assert made is not None
    assert made.rows == rows
    assert sorted(made.search(P[0, :16], 50, 0, None)[0].tolist()) == list(range(rows))


def test_a_saved_file_answers_the_same(packed: Packed, tmp_path: Path) -> None:
    """And can be added to."""
    path = tmp_path / "p.faiss"
    loaded = load_older(path, packed.save(path))
    assert (type(loaded), loaded.codes, loaded.rows, loaded.dim) == (Packed, CODES, ROWS, 64)
    for query in QUERIES:
        assert [a.tolist() for a in loaded.search(query, 50, 0, None)] == [
            a.tolist() for a in packed.search(query, 50, 0, None)
        ]
    more = loaded.extended(P[:10])
    assert more is not None
    assert (more.rows, packed.rows) == (ROWS + 10, ROWS)


def test_the_same_rows_make_the_same_codes() -> None:
    """A start, a rotation and a compaction make what was there."""
    one, two = (Packed.empty(P).extended(P) for _ in range(2))
    assert one is not None
    assert two is not None
    assert np.array_equal(one.prefixes(slice(None)), two.prefixes(slice(None)))


def test_a_store_packs_its_rows_and_finds_what_exact_search_finds(tmp_path: Path) -> None:
    """Merged and tail rows, filters, upserts, deletes, a start from the snapshot, and verify."""
    vectors = unit_vectors(2_600, 48, seed=5)
    space = Space(48, 24, {"model": "packed"})
    with opened(tmp_path / "data", PACKED, space=space) as store:
        fill(store, vectors[:2_500])
        until(lambda: store.view.shortlist.older_rows >= 2_000 and not store._merger.merging)
        store.write([Document(f"n{i}", "new", metadata={"n": i}) for i in range(100)], dict(enumerate(vectors[2_500:])))
        store.delete([f"n{i}" for i in range(50, 60)])
        shortlist = store.stats()["shortlist"]
        assert (shortlist["kind"], shortlist["codes"]) == ("packed", "pq4")
        assert shortlist["older_rows"] + shortlist["tail_rows"] == 2_600
        assert recall(store, vectors[::50]) > 0.9
        for i in (0, 49, 60, 99):
            hit = store.search(vectors[2_500 + i], Query(limit=1, shortlist=50, filter={"n": i}))[0].hits[0]
            assert hit.doc_id == f"n{i}"
        before = answers(store, vectors[::100])
    assert verify(tmp_path / "data").ok
    with opened(tmp_path / "data", PACKED, space=space) as store:
        assert store.view.shortlist.older_rows >= 2_000
        assert answers(store, vectors[::100]) == before


def recall(store: Store, queries: np.ndarray) -> float:
    """recall@10 of a shortlist of 300."""
    found = []
    for query in queries:
        exact, narrowed = (
            [hit.doc_id for hit in store.search(query, asked)[0].hits]
            for asked in (Query(limit=10, exact=True), Query(limit=10, shortlist=300))
        )
        found.append(recall_at_k(narrowed, exact, 10))
    return float(np.mean(found))


def answers(store: Store, queries: np.ndarray) -> list[list[tuple[str, float]]]:
    """Ids and scores of a fixed shortlist."""
    return [
        [(hit.doc_id, hit.score) for hit in store.search(query, Query(limit=10, shortlist=100))[0].hits]
        for query in queries
    ]


def test_codes_of_a_graph_exclude_packed_ones() -> None:
    """Each word in the error."""
    with pytest.raises(ValueError, match="shortlist_index=packed has codes of 4 bits; shortlist_codes=int8"):
        StoreOptions(shortlist_index="packed", shortlist_codes="int8")


def test_another_first_stage_is_made_again_at_the_start(tmp_path: Path) -> None:
    """From packed to a graph and back: each finds the snapshot of the other and leaves it."""
    vectors = unit_vectors(1_500)
    for index in ("packed", "hnsw", "packed", "flat"):
        with opened(tmp_path / "data", StoreOptions(shortlist_index=index)) as store:
            if store.view.rows == 0:
                fill(store, vectors)
            if index != "flat":
                until(lambda: store.view.shortlist.older_rows == 1_500)
            assert store.stats()["shortlist"]["kind"] == index
            assert store.search(vectors[7], Query(limit=1, shortlist=200))[0].hits[0].doc_id == "d00007"

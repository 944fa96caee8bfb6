"""Packed codes in lists: the same codes and scores as in one list, of fewer rows compared."""

import math
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from index import bits, lists
from index.blocks import packed_blocks, unpacked_blocks
from index.coding import load_older, make_older
from index.evaluation import recall_at_k
from index.options import PACKED as CODES
from index.packed import Packed
from index.query import Query
from index.store import Store
from index.verify import verify
from index_cases import PACKED, fill, opened, unit_vectors, until

ROWS, DIM = 3_000, 32
CENTRES = unit_vectors(60, DIM, seed=7)
QUERIES = unit_vectors(20, DIM, seed=8) * 0.3 + CENTRES[:20]


def clustered(rows: int, seed: int) -> np.ndarray:
    """(rows, DIM) float32 unit rows around the centres."""
    rng = np.random.default_rng(seed)
    made = CENTRES[rng.integers(0, len(CENTRES), rows)] + 0.12 * rng.standard_normal((rows, DIM))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


P = clustered(ROWS, 9)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Lists from a thousand rows on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "LISTED_FROM", 1_000)
        yield


@pytest.fixture(scope="module")
def listed() -> Packed:
    """All rows of P in lists."""
    return packed(P, ROWS)


@pytest.fixture(scope="module")
def whole() -> Packed:
    """The same rows, all compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "LISTED_FROM", math.inf)
        return packed(P, ROWS)


def packed(rows: np.ndarray, expected: int) -> Packed:
    """Rows in as many lists as the expected number wants."""
    made = make_older(P, CODES, expected).extended(rows)
    assert isinstance(made, Packed)
    return made


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_blocks_are_those_of_faiss(count: int) -> None:
    """As its own packer makes them, and back."""
    codes = np.random.default_rng(count).integers(0, 256, (count, 16), dtype=np.uint8)
    index = faiss.IndexIVFPQFastScan(faiss.IndexFlatIP(DIM), DIM, 1, DIM, 4, faiss.METRIC_INNER_PRODUCT)
    packer, expected = index.get_CodePacker(), np.zeros((-(-count // 32), 32 * 16), dtype=np.uint8)
    for place, code in enumerate(codes):
        packer.pack_1(code, place, expected)
    assert np.array_equal(packed_blocks(codes), expected)
    assert np.array_equal(unpacked_blocks(expected)[:count], codes)


def test_all_lists_together_are_one(listed: Packed, whole: Packed) -> None:
    """Every row once, with the same score, code and place in the order."""
    assert (listed.lists, listed.exhaustive, listed.rows) == (lists.number_of_lists(ROWS), False, ROWS)
    assert (whole.lists, whole.exhaustive, whole.rows) == (1, True, ROWS)
    for query in QUERIES[:5]:
        rows, scores = listed.search(query, ROWS, math.inf, None)
        assert sorted(rows.tolist()) == list(range(ROWS))
        assert np.array_equal(np.sort(scores), np.sort(whole.search(query, ROWS, 0, None)[1]))
        some = np.array([0, 5, 31, 32, 700, ROWS - 1])
        assert np.array_equal(listed.scores(query, some), whole.scores(query, some))
    assert np.array_equal(listed.prefixes(slice(None)), whole.prefixes(slice(None)))
    assert np.array_equal(listed.prefixes(np.array([7, 2_000])), listed.rounded(P[[7, 2_000]]))


def test_few_lists_hold_nearly_all_that_is_near(listed: Packed, whole: Packed) -> None:
    """A fraction of the rows is compared; deeper finds no less."""
    found: dict[float, list[float]] = {depth: [] for depth in (0.5, 1.0, 1.4)}
    for query in QUERIES:
        best = whole.search(query, 10, 0, None)[0].tolist()
        for depth, recalls in found.items():
            recalls.append(recall_at_k(listed.search(query, 10, depth, None)[0].tolist(), best, 10))
    shallow, default, deep = (float(np.mean(recalls)) for recalls in found.values())
    assert shallow <= default <= deep
    assert default > 0.95
    looked = [len(lists.near(query, listed._centres, 1.0)) for query in QUERIES]
    assert np.mean(looked) < 0.5 * listed.lists


def test_the_second_list_of_a_row_makes_up_for_the_first(listed: Packed) -> None:
    """They differ, and each row is in exactly two."""
    into = lists.assigned(P, listed._finder, listed._centres)
    assert (into[:, 0] != into[:, 1]).all()
    nearest = (P @ listed._centres.T).argmax(axis=1)
    assert (into[:, 0] == nearest).mean() > 0.98  # found by codes
    assert listed._index.ntotal == 2 * ROWS


@pytest.mark.parametrize("share", [0.5, 0.05, 0.002, 0.0])
def test_a_filter_lets_pass_exactly_its_rows(listed: Packed, whole: Packed, share: float) -> None:
    """As many as there are, however few lists were near."""
    allowed = np.random.default_rng(1).random(ROWS) < share
    rows, scores = listed.search(QUERIES[0], 40, 0.2, bits.pack(allowed))
    assert len(rows) == len(set(rows.tolist())) == min(40, allowed.sum())
    assert allowed[rows].all()
    assert np.all(np.diff(scores) <= 0)
    deep = listed.search(QUERIES[0], 40, math.inf, bits.pack(allowed))[1]
    assert np.array_equal(deep, whole.search(QUERIES[0], 40, 0, bits.pack(allowed))[1])


def test_a_filter_makes_a_search_deeper(listed: Packed) -> None:
    """The fewer rows match, the deeper; all of them leave it as it is."""
    depths = [listed.depth(10, 1.0, matching, ROWS) for matching in (ROWS, ROWS // 2, ROWS // 10, 10)]
    assert depths[0] == 1.0
    assert depths == sorted(depths)
    assert listed.better_scanned(10, 10, ROWS)
    assert not listed.better_scanned(10, ROWS // 2, ROWS)


def test_a_saved_file_answers_the_same_and_grows(listed: Packed, tmp_path: Path) -> None:
    """Rows added later go into the lists there are; the one that was copied stays."""
    loaded = load_older(tmp_path / "p.faiss", listed.save(tmp_path / "p.faiss"))
    for query in QUERIES:
        assert [a.tolist() for a in loaded.search(query, 30, 1.0, None)] == [
            a.tolist() for a in listed.search(query, 30, 1.0, None)
        ]
    more = loaded.extended(P[:100])
    assert isinstance(more, Packed)
    assert (more.rows, loaded.rows, more.lists) == (ROWS + 100, ROWS, listed.lists)
    assert {5, ROWS + 5} <= set(more.search(P[5], 20, 1.0, None)[0].tolist())
    assert listed.extended(P, stop=lambda: True) is None


def test_outgrown_lists_are_made_again_of_the_same_codes() -> None:
    """From one list to many, and when there are four times the rows."""
    first = packed(P[:700], 700)
    assert first.lists == 1
    second = first.extended(P[700:1_200])
    assert isinstance(second, Packed)
    assert second.lists == lists.number_of_lists(1_200)
    more = np.concatenate([P, clustered(2_000, 10)])
    third = second.extended(more[1_200:])
    assert isinstance(third, Packed)
    assert third.lists == lists.number_of_lists(5_000) >= 2 * second.lists
    assert np.array_equal(third.prefixes(slice(None)), first.rounded(more))
    assert second.extended(more[1_200:], stop=lambda: True) is None


def test_a_store_in_lists_finds_what_exact_search_finds(tmp_path: Path) -> None:
    """Lists and tail, filters and deletes, statistics, verify, a start from the snapshot and one without."""
    vectors = clustered(2_600, 11)
    with opened(tmp_path / "data", PACKED) as store:
        fill(store, vectors[:2_300], lambda i: {"n": i})
        until(lambda: store.view.shortlist.older_rows == 2_300)
        fill(store, vectors[2_300:], lambda i: {"n": 2_300 + i}, start=2_300)
        store.delete([f"d{i:05}" for i in range(0, 2_600, 50)])
        assert not store.view.shortlist.exhaustive
        assert store.stats()["shortlist"]["kind"] == "packed"
        before = found(store, vectors[1::130])
    assert verify(tmp_path / "data").ok
    with opened(tmp_path / "data", PACKED) as store:
        assert found(store, vectors[1::130]) == before
    next((tmp_path / "data").rglob("*.faiss")).unlink()
    with opened(tmp_path / "data", PACKED) as store:
        assert (store.view.shortlist.older_rows, len(store.view.shortlist.tail)) == (2_600, 0)
        assert not store.view.shortlist.exhaustive
        found(store, vectors[1::130])


def found(store: Store, queries: np.ndarray) -> list[list[str]]:
    """Ids found, with and without a filter, after comparing them with exact search."""
    answers = []
    for filter in (None, {"n": {"$lt": 1_300}}, {"n": {"$lt": 20}}):
        recalls = []
        for query in queries:
            exact, narrowed = (
                [hit.doc_id for hit in store.search(query, Query(limit=10, filter=filter, **how))[0].hits]
                for how in ({"exact": True}, {"shortlist": 150})
            )
            recalls.append(recall_at_k(narrowed, exact, 10))
            answers.append(narrowed)
        assert np.mean(recalls) > 0.9
    return answers

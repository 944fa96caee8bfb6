"""The files of rotation and query map: lost, damaged, left over, given up, dropped; and the map itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from index import rotator
from index.errors import InvalidInput, InvalidVector, StorageFull, StoreCorrupt, StoreLocked, StoreUnavailable
from index.forgetting import forget_damaged
from index.layout import Layout
from index.matrices import load_matrix, packed, write_durably
from index.matryoshka import normalise
from index.options import StoreOptions
from index.query import Query
from index.reindex import reindex
from index.rotation import QueryMap, Rotation
from index.space import Space
from index.store import Store
from index.verify import verify
from index_cases import FLAT, GRAPH, SPACE, fill, numbered, opened, random_rotation, unit_vectors, until

V, Q = unit_vectors(1_200), unit_vectors(4, seed=1)
TURN = Rotation(random_rotation(), (8,), "random")
Answers = list[list[tuple[str, float]]]
MAP = QueryMap(np.diag(np.linspace(2, 0.1, 32)), {"ndcg@10": 0.4})


def made(path: Path, options: StoreOptions = GRAPH) -> Layout:
    """A closed store of 1,200 documents with a rotation and a query map."""
    with opened(path, options) as store:
        fill(store, V)
        store.set_query_map(MAP)
        store.rotate(TURN)
    return Layout(path)


def only(layout: Layout, pattern: str) -> Path:
    """The one file that matches."""
    (path,) = layout.collection.glob(pattern)
    return path


def damage(path: Path, how: str) -> None:
    """Lose a file, or a bit of it."""
    if how == "lost":
        path.unlink()
        return
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def scored(store: Store, query: Query, vectors: np.ndarray = Q) -> Answers:
    """Ids and scores of the answers."""
    return [[(hit.doc_id, hit.score) for hit in answer.hits] for answer in store.search(vectors, query)]


def assert_alike(found: Answers, expected: Answers) -> None:
    """The same documents in the same order, scores but for the last bits of a vector that was normalised twice."""
    for mine, theirs in zip(found, expected, strict=True):
        assert [doc_id for doc_id, _ in mine] == [doc_id for doc_id, _ in theirs]
        assert np.allclose([score for _, score in mine], [score for _, score in theirs], atol=1e-6)


@pytest.mark.parametrize("how", ["lost", "bit"])
@pytest.mark.parametrize("name", ["rotation", "query-map"])
def test_a_damaged_matrix_is_named_and_can_be_given_up(tmp_path: Path, name: str, how: str) -> None:
    """The start is refused with the way out, `verify` says it, and giving it up leaves documents and the other."""
    layout = made(tmp_path / "data")
    assert verify(layout.root).ok
    assert forget_damaged(layout.root) == []
    path = only(layout, f"{name}-*")
    damage(path, how)
    with pytest.raises(StoreCorrupt, match=f"{path.name}.*funnel verify --forget-damaged"):
        opened(layout.root)
    wrong = [check for check in verify(layout.root).checks if not check.ok]
    assert wrong[0].name == name.replace("-", " ")
    assert path.name in wrong[0].detail
    assert {check.name for check in wrong[1:]} <= {"shortlist snapshot"}
    assert forget_damaged(layout.root) == [name.replace("-", "_")]
    assert verify(layout.root).ok
    with opened(layout.root, GRAPH) as store:
        assert store.count() == 1_200
        assert (store.rotation is None, store.query_map is None) == (name == "rotation", name == "query-map")
        assert not list(layout.collection.glob(f"{name}-*"))
        until(lambda: store.view.shortlist.older_rows == 1_200)
        rows = np.arange(1_200)
        assert np.allclose(store.view.shortlist.prefixes(rows), store.view.prefixes(V), atol=1e-6)


def test_only_a_closed_directory_gives_something_up(tmp_path: Path) -> None:
    """Its owner knows nothing of it."""
    with opened(tmp_path / "data"), pytest.raises(StoreLocked):
        forget_damaged(tmp_path / "data")


def test_verify_sees_prefixes_of_another_rotation(tmp_path: Path) -> None:
    """A graph that was made without the rotation in force is wrong in every row."""
    layout = made(tmp_path / "data")
    data, checksum = packed(random_rotation(seed=5))
    write_durably(layout.collection / layout.rotation_name(checksum), data)
    with opened(layout.root, FLAT) as store:
        assert store.rotation is not None
        record = json.loads(str(store._documents.state().rotation))
        record["rotation"] |= {"file": layout.rotation_name(checksum), "crc32": checksum}
        with store._documents.transaction() as db:
            db.execute("UPDATE state SET rotation = ?", (json.dumps(record),))
        write_durably(layout.collection / layout.rotation_name(checksum), data)
    wrong = [check for check in verify(layout.root).checks if not check.ok]
    assert [check.name for check in wrong] == ["shortlist snapshot"]
    assert "prefixes differ in rows 0, 1, 2, 3, 4 and 1195 more" in wrong[0].detail


def test_what_no_state_names_is_removed_at_the_start(tmp_path: Path) -> None:
    """Matrices that were written before a kill and never came into force."""
    layout = made(tmp_path / "data")
    named = {only(layout, "rotation-*").name, only(layout, "query-map-*").name}
    for name in ("rotation-00000001.npy", "rotation-00000002.tmp", "query-map-00000003.npy"):
        (layout.collection / name).write_bytes(b"left over")
    opened(layout.root).close()
    assert {p.name for pattern in ("rotation-*", "query-map-*") for p in layout.collection.glob(pattern)} == named


def test_a_file_with_another_shape_is_corrupt(tmp_path: Path) -> None:
    """Both shapes are named."""
    data, checksum = packed(np.eye(3, dtype=np.float32))
    write_durably(tmp_path / "m.npy", data)
    assert np.array_equal(load_matrix(tmp_path / "m.npy", checksum, 3), np.eye(3))
    with pytest.raises(StoreCorrupt, match=r"shape \(3, 3\), expected \(4, 4\)"):
        load_matrix(tmp_path / "m.npy", checksum, 4)


def test_a_query_map_changes_queries_and_nothing_else(tmp_path: Path) -> None:
    """Funnel, exact and cascade see normalise(q @ W); switched off for a query, or removed, it was never there."""
    queries = [Query(shortlist=50), Query(exact=True), Query(stages=((8, 300), (16, 40)))]
    with opened(tmp_path / "data", FLAT) as store:
        fill(store, V)
        before = [scored(store, query) for query in queries]
        mapped = normalise(Q @ np.asarray(MAP.matrix, dtype=np.float32))
        expected = [scored(store, query, mapped) for query in queries]
        store.set_query_map(MAP)
        for query, answers, plain in zip(queries, expected, before, strict=True):
            assert_alike(scored(store, query), answers)
            assert scored(store, query) != plain
        assert scored(store, Query(exact=True, mapped=False)) == before[1]
        store.rotate(TURN)
        assert_alike(scored(store, queries[1]), expected[1])
        stored = store.stats()["query_map"]
        assert (stored["measured"], store.stats()["rotation"]["method"]) == ({"ndcg@10": 0.4}, "random")
    with opened(tmp_path / "data", FLAT) as store:
        assert_alike(scored(store, queries[1]), expected[1])
        store.set_query_map(QueryMap(np.eye(32)))
        assert len(list(store.layout.collection.glob("query-map-*"))) == 1
        store.set_query_map(None)
        store.rotate(None)
        assert [scored(store, query) for query in queries] == before
        assert store._documents.state().rotation is None


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(31), r"32 x 32 matrix, got shape \(31, 31\)"),
        (np.full((32, 32), np.inf), "NaN or Inf"),
        (np.zeros((32, 32)), "all zeros"),
        (np.full((32, 32), 3e38), r"size 3e\+38, at most 1.06e\+37 is allowed"),
    ],
)
def test_what_is_no_query_map_is_refused(tmp_path: Path, matrix: np.ndarray, message: str) -> None:
    """Nothing is changed."""
    with opened(tmp_path / "data") as store:
        with pytest.raises(InvalidInput, match=message):
            store.set_query_map(QueryMap(matrix))
        assert store.query_map is None


def test_a_query_that_a_map_leaves_nothing_of_is_refused(tmp_path: Path) -> None:
    """It has no direction."""
    flat = np.zeros((32, 32))
    flat[0, 0] = 1
    with opened(tmp_path / "data") as store:
        fill(store, V)
        store.set_query_map(QueryMap(flat))
        with pytest.raises(InvalidVector, match="the query map of the index turns a query into zeros"):
            store.search(np.eye(32, dtype=np.float32)[3], Query())


def test_what_becomes_of_the_caller_s_matrix_does_not_matter(tmp_path: Path) -> None:
    """The store has its own."""
    matrix = np.eye(32, dtype=np.float32)
    with opened(tmp_path / "data") as store:
        fill(store, V)
        store.set_query_map(QueryMap(matrix))
        before = scored(store, Query())
        matrix *= -1
        assert scored(store, Query()) == before


def test_a_map_that_does_not_come_into_force_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on a full disk, where the one before stays, nor after closing."""

    def full(*_: object) -> None:
        raise StorageFull("no space left")

    with opened(tmp_path / "data") as store:
        store.set_query_map(MAP)
        kept = only(store.layout, "query-map-*")
        with monkeypatch.context() as patched:
            patched.setattr(rotator, "_mapped", full)
            with pytest.raises(StorageFull):
                store.set_query_map(QueryMap(2 * MAP.matrix))
        assert only(store.layout, "query-map-*") == kept
    with pytest.raises(StoreUnavailable, match="closed"):
        store.set_query_map(QueryMap(2 * MAP.matrix))
    assert only(store.layout, "query-map-*") == kept


@pytest.mark.parametrize("same", [True, False])
def test_reindex_keeps_matrices_in_the_same_space_only(tmp_path: Path, same: bool) -> None:
    """Another storage type keeps them; another model drops record and files."""
    layout = made(tmp_path / "data")
    space = SPACE if same else Space(32, 8, {"model": "other"})
    row = {f"text of {doc_id}": V[i] for i, doc_id in enumerate(numbered(1_200))}
    embed = lambda texts: np.stack([row[text] for text in texts])  # noqa: E731
    reindex(layout.root, space, embed, StoreOptions(storage="int8"))
    with opened(layout.root, FLAT, space) as store:
        assert (store.rotation is not None, store.query_map is not None) == (same, same)
        assert bool(list(layout.collection.glob("rotation-*"))) == same
        expected = store.view.prefixes(store.view.codec.decode(store.view.matrix))
        assert np.array_equal(store.view.shortlist.prefixes(np.arange(1_200)), expected)
    assert verify(layout.root).ok

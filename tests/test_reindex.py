"""Embedding everything again, in another space."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index.document import Document
from index.errors import FingerprintMismatch, InvalidInput, InvalidVector, StoreFormat, StoreLocked
from index.layout import Layout
from index.options import StoreOptions
from index.query import Query
from index.reindex import reindex
from index.space import Space
from index.store import Store
from index.verify import verify
from index_cases import FLAT, GRAPH, SPACE, fill, numbered, opened, unit_vectors, until
from test_integrity import flip

COUNT = 60
OLD = unit_vectors(COUNT)
NEW_SPACE = Space(48, 12, {"model": "new"})
NEW = dict(zip((f"text of {i}" for i in numbered(COUNT)), unit_vectors(COUNT, 48, seed=9), strict=True))
DEAD = ["d00000", "d00001", "d00030", "d00059"]


class Model:
    """Knows the new vectors; fails when it has been asked `fails_at` times."""

    def __init__(self, fails_at: int = -1) -> None:
        self.batches: list[list[str]] = []
        self._fails_at = fails_at

    def __call__(self, texts: list[str]) -> np.ndarray:
        """(n, 48) float32, not normalised."""
        if len(self.batches) == self._fails_at:
            raise ConnectionError("interrupted")
        self.batches.append(texts)
        return np.stack([NEW[text] for text in texts]) * 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed store with dead rows at its start, middle and end."""
    with opened(tmp_path / "data") as store:
        fill(store, OLD, lambda i: {"n": i})
        store.delete(DEAD)
    return tmp_path / "data"


def assert_reindexed(path: Path, options: StoreOptions = FLAT) -> None:
    """Every live document is found by its new vector, and nothing else has changed."""
    with Store.open(path, NEW_SPACE, options) as store:
        live = [i for i in numbered(COUNT) if i not in DEAD]
        assert [d.doc_id for d in store.scroll(1_000)[0]] == live
        for doc_id in live:
            hit = store.search(NEW[f"text of {doc_id}"], Query(limit=1, exact=True))[0].hits[0]
            assert (hit.doc_id, hit.metadata) == (doc_id, {"n": int(doc_id[1:])})
            assert hit.score == pytest.approx(1, abs=2e-3)
        assert store.changed([Document(live[0], f"text of {live[0]}")]) == [False]
        assert store.view.generation == 2
    assert verify(path).ok
    names = {p.name for p in Layout(path).collection.iterdir()}
    assert names == {"documents.sqlite", "vectors-2.bin", "vectors-2.crc"}


@pytest.mark.parametrize("batch", [1, 7, 256])
@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_every_text_is_embedded_once(path: Path, batch: int, storage: str) -> None:
    """In batches of bounded size, dead rows left out, storage type changed on the way; the old model is refused."""
    model, seen = Model(), []
    count = reindex(path, NEW_SPACE, model, StoreOptions(storage=storage), batch, lambda *p: seen.append(p))
    assert count == COUNT - len(DEAD)
    assert sorted(t for b in model.batches for t in b) == sorted(t for t in NEW if t[8:] not in DEAD)
    assert max(map(len, model.batches)) <= batch
    assert seen[-1] == (count, count)
    with pytest.raises(FingerprintMismatch):
        opened(path)
    assert_reindexed(path)


@pytest.mark.parametrize("fails_at", [0, 1, 3, 7])
def test_an_interrupted_run_goes_on_where_it_stopped(path: Path, fails_at: int) -> None:
    """The directory can be opened with its old model in between, and nothing is embedded twice."""
    first = Model(fails_at)
    with pytest.raises(ConnectionError):
        reindex(path, NEW_SPACE, first, batch=7)
    with opened(path) as store:
        assert store.search(OLD[5], Query(limit=1))[0].hits[0].doc_id == "d00005"
        assert store.view.generation == 1
    second = Model()
    reindex(path, NEW_SPACE, second, batch=7)
    done = [t for b in first.batches + second.batches for t in b]
    assert len(done) == len(set(done)) == COUNT - len(DEAD)
    assert_reindexed(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda at: at.vectors(2).unlink(),
        lambda at: at.checksums(2).write_bytes(b""),
        lambda at: flip(at.vectors(2), 48 * 4 * 7 + 1),
    ],
)
def test_what_an_interrupted_run_left_is_looked_at(path: Path, damage: Callable[[Layout], object]) -> None:
    """Rows of zeros would take the place of good vectors, which are removed then."""
    with pytest.raises(ConnectionError):
        reindex(path, NEW_SPACE, Model(fails_at=3), batch=8)
    damage(Layout(path))
    model = Model()
    assert reindex(path, NEW_SPACE, model, batch=8) == COUNT - len(DEAD)
    assert sum(map(len, model.batches)) == COUNT - len(DEAD)
    assert_reindexed(path)


def test_documents_that_came_and_went_in_between_are_right(path: Path) -> None:
    """An interrupted run does not freeze the index."""
    with pytest.raises(ConnectionError):
        reindex(path, NEW_SPACE, Model(4), batch=7)
    with opened(path) as store:
        store.write([Document("d00000", "text of d00000", metadata={"n": 0})], {0: OLD[0]})
        store.write([Document("d00002", "text of d00030", metadata={"n": 2})], {0: OLD[0]})
        store.delete(["d00003"])
    reindex(path, NEW_SPACE, Model(), batch=7)
    with Store.open(path, NEW_SPACE) as store:
        for doc_id, text in (("d00000", "text of d00000"), ("d00002", "text of d00030"), ("d00007", "text of d00007")):
            assert store.search(NEW[text], Query(limit=1, exact=True))[0].hits[0].doc_id == doc_id
        assert store.get(["d00003"]) == []
    assert verify(path).ok


def test_another_space_starts_afresh(path: Path) -> None:
    """What was built for one model is not continued with another, nor in another storage type."""
    with pytest.raises(ConnectionError):
        reindex(path, Space(48, 12, {"model": "abandoned"}), Model(3), batch=7)
    with pytest.raises(ConnectionError):
        reindex(path, NEW_SPACE, Model(3), StoreOptions(storage="int8"), batch=7)
    model = Model()
    reindex(path, NEW_SPACE, model, batch=7)
    assert sum(map(len, model.batches)) == COUNT - len(DEAD)
    assert_reindexed(path)


def test_own_vectors_cannot_be_made_again(path: Path) -> None:
    """The run is refused before anything is built."""
    with opened(path) as store:
        store.write([Document("own", "text", vector=OLD[3])], {})
    model = Model()
    with pytest.raises(InvalidInput, match="1 of 57 documents carry vectors of their own"):
        reindex(path, NEW_SPACE, model)
    assert model.batches == []
    with opened(path) as store:
        assert store.count() == COUNT - len(DEAD) + 1


@pytest.mark.parametrize("wrong", [lambda n: np.ones((n, 32)), lambda n: np.ones((1, 48)), lambda n: np.zeros((n, 48))])
def test_a_model_that_answers_wrongly_changes_nothing(path: Path, wrong: object) -> None:
    """Another width, another number of vectors, vectors of zeros."""
    with pytest.raises(InvalidVector):
        reindex(path, NEW_SPACE, lambda texts: wrong(len(texts)), batch=50)  # type: ignore[operator]
    with opened(path) as store:
        assert store.view.generation == 1
        assert store.search(OLD[5], Query(limit=1))[0].hits[0].doc_id == "d00005"


@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_a_text_whose_vector_cannot_be_used_is_named(path: Path, bad: float) -> None:
    """By the id of its document."""

    def embed(texts: list[str]) -> np.ndarray:
        return np.stack([np.full(48, bad if text == "text of d00005" else 1.0) for text in texts])

    with pytest.raises(InvalidVector, match="d00005"):
        reindex(path, NEW_SPACE, embed)


def test_files_of_the_old_generation_go_even_when_killed_after_the_swap(path: Path) -> None:
    """The next start deletes what no generation names."""
    layout = Layout(path)
    kept = {p: p.read_bytes() for p in (layout.vectors(1), layout.checksums(1))}
    reindex(path, NEW_SPACE, Model())
    for file, data in kept.items():
        file.write_bytes(data)
    assert_reindexed(path)


def test_an_old_snapshot_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """The graph of the old prefixes goes with its generation."""
    vectors = unit_vectors(1_100)
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, vectors)
        until(lambda: any(store.layout.collection.glob("shortlist-*.faiss")))
    turned = -vectors
    by_text = dict(zip((f"text of {i}" for i in numbered(1_100)), turned, strict=True))
    space = Space(SPACE.dim, SPACE.prefix_dim, {"model": "turned"})
    reindex(tmp_path / "data", space, lambda texts: np.stack([by_text[t] for t in texts]))
    assert not list(Layout(tmp_path / "data").collection.glob("shortlist-*"))
    with Store.open(tmp_path / "data", space, GRAPH) as store:
        assert store.search(turned[8], Query(limit=1))[0].hits[0].doc_id == "d00008"


def test_there_must_be_an_index_that_nobody_uses(tmp_path: Path) -> None:
    """Missing is StoreFormat, open is StoreLocked, empty is nothing to do."""
    with pytest.raises(StoreFormat):
        reindex(tmp_path / "none", NEW_SPACE, Model())
    with opened(tmp_path / "data"), pytest.raises(StoreLocked):
        reindex(tmp_path / "data", NEW_SPACE, Model())
    assert reindex(tmp_path / "data", NEW_SPACE, Model()) == 0
    with Store.open(tmp_path / "data", NEW_SPACE) as store:
        assert store.count() == 0

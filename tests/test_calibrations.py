"""The calibration in force: its file, when it is void, and when it should be made again."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index.calibration import Calibration
from index.calibrations import Calibrations, outdated_by
from index.errors import StoreUnavailable
from index.layout import Layout
from index.query import Query
from index.rotation import QueryMap, Rotation
from index.space import Space
from index.store import Store
from index_cases import FLAT, GRAPH, SPACE, fill, numbered, opened, random_rotation, unit_vectors, until
from recall_cases import asked_of, collection, filled

ROWS, QUERIES = collection(400, 100)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store of 400 documents, calibrated."""
    path = tmp_path_factory.mktemp("calibrations") / "data"
    with filled(path, ROWS) as store:
        store.calibrate(asked_of(QUERIES))
    return path


@pytest.fixture
def copied(directory: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(directory, tmp_path / "data"))


@pytest.fixture
def store(copied: Path) -> Iterator[Store]:
    """The copy, open."""
    with opened(copied) as store:
        yield store


def source(store: Store) -> str:
    """Where the shortlist of a target recall comes from."""
    return store.search(QUERIES[0], Query(limit=10, target_recall=0.9))[0].shortlist_source


def test_it_is_kept_when_the_store_is_reopened(tmp_path: Path) -> None:
    """To the letter, and in force at once; undone it stays away."""
    with filled(tmp_path / "data", ROWS) as store:
        assert store.calibration is None
        made = store.calibrate(asked_of(QUERIES))
        assert store.calibration is made
        before = store.search(QUERIES, Query(limit=5, target_recall=0.9))
    with opened(tmp_path / "data") as store:
        assert store.calibration is not None
        assert store.calibration.to_json() == made.to_json()
        for one, other in zip(before, store.search(QUERIES, Query(limit=5, target_recall=0.9)), strict=True):
            assert [(h.doc_id, h.score) for h in one.hits] == [(h.doc_id, h.score) for h in other.hits]
            assert (one.stages, one.recall_estimate) == (other.stages, other.recall_estimate)
        store.forget_calibration()
        assert (store.calibration, source(store)) == (None, "uncalibrated")
    with opened(tmp_path / "data") as store:
        assert store.calibration is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"version": 99}', b"\xff\xfe", b'{"version": 1}'])
def test_a_damaged_file_is_made_again_and_nothing_else_suffers(
    copied: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The store opens, says so in its log, and searches as if there were none; a new one replaces it."""
    path = Layout(copied).calibration
    whole = Calibration.from_json(path.read_text())
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING), opened(copied) as store:
        assert str(path) in caplog.text
        assert (store.calibration, source(store)) == (None, "uncalibrated")
        store._calibrations.put(whole)
        assert source(store) == "calibration"
        assert path.read_text() == whole.to_json()


def test_another_rotation_voids_it_and_undoing_it_brings_it_back(store: Store) -> None:
    """Other prefixes make other shortlists: what was learned of the old ones says nothing."""
    store.rotate(Rotation(random_rotation(), (8,), "test"))
    assert (store.calibration, source(store)) == (None, "uncalibrated")
    told = store.stats()["calibration"]
    assert (told["in_force"], told["outdated"]) == (False, "rotation changed since")
    store.rotate(None)
    assert store.calibration is not None


def test_a_query_map_voids_it(store: Store) -> None:
    """Other queries are asked."""
    store.set_query_map(QueryMap(np.eye(32, dtype=np.float32) + 0.01))
    assert store.calibration is None
    assert store.stats()["calibration"]["outdated"] == "query map changed since"


def test_a_graph_voids_it(copied: Path) -> None:
    """A first stage that may pass over rows is another one."""
    with opened(copied, GRAPH) as store:
        assert store.calibration is not None
        fill(store, collection(700, 0, seed=1)[0], start=400)
        until(lambda: store.view.shortlist.older is not None)
        assert store.calibration is None
        assert store.stats()["calibration"]["outdated"] == "first stage changed since"


def test_another_model_voids_it(directory: Path, tmp_path: Path) -> None:
    """A file that was copied beside another model's vectors is not believed."""
    with Store.open(tmp_path / "other", Space(32, 8, {"model": "another"}), FLAT) as store:
        fill(store, ROWS)
    shutil.copy(Layout(directory).calibration, Layout(tmp_path / "other").calibration)
    with Store.open(tmp_path / "other", None, FLAT) as store:
        assert store.calibration is None
        assert store.stats()["calibration"]["outdated"] == "fingerprint changed since"


def test_growth_and_shrinkage_outdate_it_but_leave_it_in_force(store: Store) -> None:
    """Half as many again, or half: it is said; documents in between change nothing."""
    made, more = store.calibration, collection(250, 0, seed=1)[0]
    assert made is not None
    fill(store, more[:200], start=400)
    assert outdated_by(made, store.view) is None
    fill(store, more[200:201], start=600)
    assert outdated_by(made, store.view) == "made on 400 documents, there are 601 now"
    assert (store.calibration, source(store)) == (made, "calibration")
    assert store.stats()["calibration"]["outdated"] == "made on 400 documents, there are 601 now"
    store.delete_where({"n": {"$gte": 0}})
    assert outdated_by(made, store.view) == "201 documents were written since, there are 201"
    store.delete(["d00400", "d00401"])
    assert outdated_by(made, store.view) == "made on 400 documents, there are 199 now"


def test_replacing_half_of_the_documents_outdates_it(store: Store) -> None:
    """Their number stays, what was measured does not."""
    made, others = store.calibration, collection(250, 0, seed=2)[0]
    assert made is not None
    store.delete([f"d{number:05}" for number in range(200)])
    fill(store, others[:200], start=1_000)
    assert (store.view.count, outdated_by(made, store.view)) == (400, None)
    store.delete(["d00200"])
    fill(store, others[200:201], start=2_000)
    assert outdated_by(made, store.view) == "201 documents were written since, there are 400"


def test_statistics_tell_what_it_is(store: Store) -> None:
    """And that there is none."""
    made = store.calibration
    assert made is not None
    assert store.stats()["calibration"] == {
        "id": made.calibration_id, "made": made.made, "source": "a file", "guaranteed": True, "queries": 100,
        "documents": 400, "in_force": True, "outdated": None,
    }  # fmt: skip
    store.forget_calibration()
    assert store.stats()["calibration"] is None
    assert store.view.space == SPACE


def test_a_file_that_was_changed_is_made_again(store: Store) -> None:
    """One digit is enough; no search fails over it."""
    made = store.calibration
    assert made is not None
    path = store.layout.calibration
    path.write_text(path.read_text().replace('"identity": {', '"identity": null, "x": {'))
    assert Calibrations(store.layout).of(store.view) is None
    path.write_text(made.to_json())
    assert Calibrations(store.layout).of(store.view) is not None


def test_what_cannot_be_removed_stays_in_force(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what it is; nothing has changed."""
    kept = Calibrations(store.layout)

    def fail(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(StoreUnavailable, match="cannot be removed: Permission denied"):
        kept.forget()
    assert kept.of(store.view) is not None


def test_a_compaction_keeps_it_and_knows_what_came_after_it(copied: Path) -> None:
    """Rows have new numbers: the same documents count as fresh, before and after, also when opened again."""
    with opened(copied) as store:
        fill(store, unit_vectors(30, seed=4), start=900)
        store.delete(numbered(100))
        kept = store.calibration
        assert kept is not None
        assert (kept.through, store.view.rows - kept.through) == (400, 30)
        store.compact()
        assert store.calibration is not None
        assert (store.calibration.through, store.view.rows - store.calibration.through) == (300, 30)
        assert source(store) == "calibration"
    with opened(copied) as store:
        assert store.calibration is not None
        assert (store.calibration.through, source(store)) == (300, "calibration")

"""Directories that earlier versions wrote open, and answer as they did."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from make_fixture import FILTER, OPTIONS, ROOT, answers, fill, packed, rows

from index.document import Document
from index.errors import StoreFormat
from index.manifest import FORMAT_VERSION
from index.query import Query
from index.store import Store
from index.verify import verify

VERSIONS = sorted(path.name.removesuffix(".tar.gz") for path in ROOT.glob("format-*.tar.gz"))


def unpacked(version: str, folder: Path) -> Path:
    """The directory of a fixture."""
    with tarfile.open(ROOT / f"{version}.tar.gz") as archive:
        archive.extractall(folder / version, filter="data")
    return folder / version


def told(version: str) -> dict:
    """What the version that wrote it found in it."""
    return json.loads((ROOT / f"{version}.json").read_text())


def test_every_version_has_a_fixture() -> None:
    """The one of now too: `scripts/make_fixture.py` makes it."""
    assert [f"format-{version}" for version in range(1, FORMAT_VERSION + 1)] == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_it_opens_and_answers_as_it_did(version: str, tmp_path: Path) -> None:
    """The same ids and scores by funnel, exact search and filter; it verifies before and after it was opened."""
    path, expected = unpacked(version, tmp_path), told(version)
    assert verify(path).ok, verify(path).checks
    with Store.open(path, None, OPTIONS) as store:
        assert store.count() == expected["count"]
        assert store.rotation is not None
        assert store.query_map is not None
        assert store.stats()["shortlist"]["older_rows"] > 0, "the graph is read, not made again"
        found = answers(store, np.array(expected["queries"], dtype=np.float32))
        for kind, lists in expected["answers"].items():
            for mine, theirs in zip(found[kind], lists, strict=True):
                assert [doc_id for doc_id, _ in mine] == [doc_id for doc_id, _ in theirs]
                assert [score for _, score in mine] == pytest.approx([score for _, score in theirs], abs=2e-5)
        (document,) = store.get(["d08"])
        assert document.metadata == {"n": 8, "kind": "a", "tags": ["x", {"deep": [1, None]}]}
    assert verify(path).ok


@pytest.mark.parametrize("version", VERSIONS)
def test_it_can_be_written_to(version: str, tmp_path: Path) -> None:
    """Replaced, deleted and new documents are there after it was opened again."""
    path, vector = unpacked(version, tmp_path), rows(1, 9)[0]
    with Store.open(path, None, OPTIONS) as store:
        store.write([Document("new", "of today", metadata={"n": 99, "kind": "b"})], {0: vector})
        store.delete(["d08", "d01"])
        before = store.count()
    with Store.open(path, None, OPTIONS) as store:
        assert store.count() == before == told(version)["count"] - 1
        assert store.search(vector, Query(limit=1, filter=FILTER, exact=True, mapped=False))[0].hits[0].doc_id == "new"
    assert verify(path).ok


def test_a_newer_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Both versions are named; nothing is changed."""
    path = unpacked(VERSIONS[-1], tmp_path)
    manifest = json.dumps({"format": "funnel-search", "version": FORMAT_VERSION + 1, "created": 1})
    (path / "manifest.json").write_text(manifest)
    with pytest.raises(
        StoreFormat, match=rf"version {FORMAT_VERSION + 1}.*version {FORMAT_VERSION}.*newer funnel-search"
    ):
        Store.open(path, None)
    assert (path / "manifest.json").read_text() == manifest


def test_the_script_writes_what_it_keeps(tmp_path: Path) -> None:
    """A directory made today, packed and unpacked, verifies."""
    fill(tmp_path / "made")
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path / "made"))) as archive:
        archive.extractall(tmp_path / "again", filter="data")
    assert verify(tmp_path / "again").ok

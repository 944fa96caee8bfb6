"""Removing what nothing needs any more."""

import logging
from pathlib import Path

import pytest

from index import leftovers
from index_cases import GRAPH, fill, opened, unit_vectors, until


def no_unlink(path: Path, missing_ok: bool = False) -> None:
    """A file system that has just turned read-only."""
    raise OSError(30, "Read-only file system", str(path))


def test_a_missing_file_is_no_matter(tmp_path: Path) -> None:
    """The others go."""
    (tmp_path / "b").touch()
    leftovers.remove(tmp_path / name for name in "ab")
    assert list(tmp_path.iterdir()) == []


def test_one_that_stays_keeps_no_other(tmp_path: Path) -> None:
    """A directory cannot be unlinked; what comes after it can."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").touch()
    leftovers.remove(tmp_path / name for name in "ab")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_cannot_be_removed_is_told_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The merger goes on after it: it would not be there for the next tail."""
    vectors = unit_vectors(2_400)
    with opened(tmp_path, GRAPH) as store:
        fill(store, vectors[:1_200])
        until(lambda: bool(list(store.layout.collection.glob("*.faiss"))) and not store._merger.files.locked())
        with caplog.at_level(logging.WARNING), monkeypatch.context() as fault:
            fault.setattr(Path, "unlink", no_unlink)
            fill(store, vectors[1_200:], start=1_200)
            until(lambda: store.view.shortlist.older_rows == 2_400 and not store._merger.merging)
        assert "stays until the next start: " in caplog.text
        assert store._merger._thread.is_alive()

"""What the start asks of the disk before it needs it."""

import os
import threading
from pathlib import Path

import pytest

from index import readahead
from index.layout import Layout


def test_the_newest_graph_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else of the directory."""
    asked, done = list[str](), threading.Event()

    def note(descriptor: int, *_: int) -> None:
        asked.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        done.set()

    monkeypatch.setattr(readahead.os, "posix_fadvise", note)
    collection = Layout(tmp_path).collection
    collection.mkdir(parents=True)
    for age, name in enumerate(("shortlist-1-20.faiss", "shortlist-1-9.faiss", "vectors-1.bin")):
        (collection / name).write_bytes(b"x")
        os.utime(collection / name, (1_000 - age, 1_000 - age))
    readahead.read_ahead(tmp_path)
    assert done.wait(10)
    assert asked == ["shortlist-1-20.faiss"]


def test_a_directory_without_one_needs_none(tmp_path: Path) -> None:
    """A service that starts for the first time has no folder yet."""
    readahead.read_ahead(tmp_path / "none")

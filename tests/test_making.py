"""The documents file of a new directory: there and whole, or not there."""

import resource
from pathlib import Path

import pytest

from index.database import Documents
from index.errors import StorageFull, StoreUnavailable
from index.layout import Layout
from index.store import Store
from index_cases import SPACE, opened


def interrupted(*_: object) -> None:
    """Where a first start is cut off."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["replace", "sync"])
def test_a_first_start_that_is_cut_off_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Before the rename there is no index, as whoever looks without opening sees; after it there is a whole one."""
    with monkeypatch.context() as cut:
        if step == "replace":
            real = Path.replace
            cut.setattr(Path, "replace", lambda a, b: interrupted() if a.name == "documents.tmp" else real(a, b))
        else:
            cut.setattr("index.making.sync_directory", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path)
    assert Store.stored_space(tmp_path) == (None if step == "replace" else SPACE)
    assert Store.stored_rotation(tmp_path) == ()
    with opened(tmp_path) as store:
        assert store.count() == 0
    assert not list(tmp_path.glob("collections/default/documents.tmp*"))


def test_what_an_interrupted_start_left_is_no_obstacle(tmp_path: Path) -> None:
    """Torn files under the other name are removed; they are never taken for documents."""
    layout = Layout(tmp_path)
    layout.create()
    for name in ("documents.tmp", "documents.tmp-wal", "documents.tmp-journal"):
        (layout.collection / name).write_bytes(bytes(4096))
    with opened(tmp_path) as store:
        assert store.space == SPACE
    assert not list(layout.collection.glob("documents.tmp*"))


def test_a_disk_that_is_full_when_the_log_is_moved_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing would say nothing, and leave a file without its last pages."""
    with monkeypatch.context() as full:
        full.setattr(Documents, "checkpoint", fail)
        with pytest.raises(StorageFull):
            opened(tmp_path)
    assert Store.stored_space(tmp_path) is None
    opened(tmp_path).close()


def fail(_: Documents) -> None:
    """No room."""
    raise StorageFull("no space left")


def test_a_checkpoint_tells_what_closing_hides(tmp_path: Path) -> None:
    """The error of a file that may not grow."""
    opened(tmp_path).close()
    documents = Documents(Layout(tmp_path).documents, readers=0)
    with documents.transaction() as db:
        db.execute("INSERT INTO documents VALUES (0, 'a', NULL, ?, '{}', x'', x'')", ("text" * 50_000,))
    before, (soft, hard) = documents.path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 8192, hard))
    try:
        with pytest.raises(StoreUnavailable, match="documents"):
            documents.checkpoint()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        documents.close()

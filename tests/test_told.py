"""Errors of the system under the index: in the words of the index, and with nothing left open behind them."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from index import database
from index.connections import failure
from index.errors import StorageFull, StoreBusy, StoreUnavailable
from index.told import told
from index_cases import fill, opened, unit_vectors


def failing(number: int) -> Callable[..., None]:
    """A call that fails."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def sqlite_error(code: int) -> sqlite3.OperationalError:
    """What SQLite raises."""
    error = sqlite3.OperationalError("unable")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "full"), StorageFull),
        (OSError(errno.EDQUOT, "quota"), StorageFull),
        (OSError(errno.EROFS, "read-only"), StoreUnavailable),
        (sqlite3.OperationalError("unable to open"), StoreUnavailable),
        (sqlite_error(sqlite3.SQLITE_FULL), StorageFull),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), StoreBusy),
        (sqlite_error(sqlite3.SQLITE_LOCKED), StoreBusy),
        (sqlite_error(sqlite3.SQLITE_IOERR), StoreUnavailable),
    ],
)
def test_what_failed_comes_first(error: Exception, kind: type[Exception]) -> None:
    """Then the system's own words."""
    words = r"^the rotation failed.*(full|quota|read-only|unable)"
    with pytest.raises(kind, match=words) as raised, told("the rotation failed"):
        raise error
    assert raised.type is kind


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EIO, StoreUnavailable)])
@pytest.mark.parametrize("broken", ["index.making.sync_directory", "index.store.Calibrations", "index.layout.os.fsync"])
def test_a_start_that_fails_releases_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, number: int, kind: type[Exception]
) -> None:
    """Whatever fails, before or after the files were opened; the next start goes on."""
    with monkeypatch.context() as fault:
        fault.setattr(broken, failing(number))
        with pytest.raises(kind, match="cannot be opened"):
            opened(tmp_path)
    with opened(tmp_path) as store:
        assert store.count() == 0


def test_readers_that_cannot_be_opened_leave_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third connection fails: no file is held."""
    opened(tmp_path).close()
    real, calls = database.connect, []

    def connect(path: Path, mode: str) -> sqlite3.Connection:
        calls.append(mode)
        if calls.count("ro") == 3:
            raise sqlite3.OperationalError("unable to open database file")
        return real(path, mode)

    with monkeypatch.context() as fault:
        fault.setattr(database, "connect", connect)
        with pytest.raises(StoreUnavailable, match="cannot be opened for reading"):
            opened(tmp_path)
    held = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    assert not any(path.is_relative_to(tmp_path) for path in held)


def test_a_failed_sync_of_a_deleted_snapshot_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether it is gone; it can be deleted again, or is not there."""
    with opened(tmp_path) as store:
        fill(store, unit_vectors(3))
        store.snapshots.make(name="one")
        monkeypatch.setattr("index.snapshots.sync_directory", failing(errno.EIO))
        with pytest.raises(StoreUnavailable, match="'one' may be there or not"):
            store.snapshots.delete("one")


def test_a_directory_that_may_not_be_written_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says only that it is unable to open a file."""
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    assert failure(error, tmp_path / "x") is None
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "is read-only, or another user's" in str(failure(error, tmp_path / "x"))


def test_a_disk_that_fails_is_not_a_damaged_file() -> None:
    """SQLite's I/O errors say nothing about the bytes."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    assert isinstance(failure(error, Path("x")), StoreUnavailable)

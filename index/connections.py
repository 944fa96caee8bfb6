"""Connections to SQLite files, and what their errors mean."""

import os
import sqlite3
from pathlib import Path

from index.errors import FunnelError, StorageFull, StoreBusy, StoreUnavailable
from index.told import code_of, is_full, is_locked


def failure(error: Exception, path: Path) -> FunnelError | None:
    """What has nothing to do with the bytes of the file: a full or failing disk, or a lock of another process."""
    if is_full(error):
        return StorageFull(f"no space left for {path}: {error}")
    if is_locked(error):
        return StoreBusy(f"another process has locked {path}: {error}")
    if (code := code_of(error)) == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{path} cannot be read or written: {error}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) and not os.access(path.parent, os.W_OK):
        return StoreUnavailable(f"{path.parent} is read-only, or another user's: {error}")
    return None


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit; `mode` is ro, rw or rwc."""
    uri = f"file:{path.absolute().as_posix().replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA mmap_size=0")
    return db


def discard(path: Path) -> None:
    """Remove a SQLite file that nobody has open, and what SQLite may have left beside it."""
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink(missing_ok=True)

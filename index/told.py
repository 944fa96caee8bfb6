"""Errors of the operating system and of SQLite in the words of the index."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from index.errors import StorageFull, StoreBusy, StoreUnavailable


@contextmanager
def told(what: str) -> Iterator[None]:
    """Raises StorageFull when there is no room, StoreBusy when another process has locked a SQLite file, and
    StoreUnavailable for any other, all beginning with `what`."""
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        if is_full(error):
            raise StorageFull(f"{what}, there is no space left: {error}") from error
        if is_locked(error):
            raise StoreBusy(f"{what}, another process has locked a file: {error}") from error
        raise StoreUnavailable(f"{what}: {error}") from error


def is_full(error: Exception) -> bool:
    """Whether there was no room on a disk, or none within a quota."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or code_of(error) == sqlite3.SQLITE_FULL


def is_locked(error: Exception) -> bool:
    """Whether another process has locked a SQLite file."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def code_of(error: Exception) -> int:
    """SQLite's result code without its extended part; 0 when the error is none of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF

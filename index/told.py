"""Errors of the operating system and of SQLite in the words of the index."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from index.errors import StorageFull, StoreUnavailable


@contextmanager
def told(what: str) -> Iterator[None]:
    """Raises StorageFull when there is no room and StoreUnavailable for any other, both beginning with `what`."""
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise StorageFull(f"{what}, there is no space left: {error}") from error
        raise StoreUnavailable(f"{what}: {error}") from error

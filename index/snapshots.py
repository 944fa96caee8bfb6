"""The folder of snapshots: making one while searches and writes go on, and listing, finding and deleting them.

A snapshot is written under another name, synced and renamed: a kill at any instant leaves a whole one or none.
"""

import os
import re
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from index import leftovers
from index.database import Documents
from index.errors import (
    FunnelError,
    InvalidInput,
    SnapshotBusy,
    SnapshotExists,
    SnapshotNotFound,
    StoreBusy,
    StoreFormat,
    StoreUnavailable,
)
from index.layout import Layout, sync_directory
from index.progress import Progress, silent
from index.room import require_room
from index.snapshot_file import Meter, Record, record_of, write_snapshot
from index.told import told
from index.view import View

NAME = "[a-z0-9][a-z0-9-]{0,63}"
ATTEMPTS = 5  # a compaction that ends meanwhile takes the copied moment away
MARGIN = 1 << 20  # bytes for headers and the small members
Records = list[Record]  # a method has the name of the type
Names = list[str]


class Snapshots:
    """May be used from any thread; one snapshot is made at a time."""

    def __init__(self, layout: Layout, documents: Documents, newest: Callable[[], View]) -> None:
        """Removes what was left of interrupted ones; the caller holds the directory's lock."""
        self._layout, self._documents, self._newest = layout, documents, newest
        self._alone, self._publishing, self._closed = threading.Lock(), threading.Lock(), threading.Event()
        leftovers.remove(layout.snapshots.glob("*.tmp*"))  # with SQLite's journal of a copy

    def make(self, progress: Progress | None = None, name: str | None = None) -> Record:
        """Write one consistent moment into one file; returns its record. `progress` gets (bytes done, bytes).

        What `progress` raises stops it, and nothing of it stays. Raises InvalidInput for a bad name, SnapshotExists,
        SnapshotBusy, StorageFull, StoreCorrupt when stored bytes are damaged, StoreUnavailable.
        """
        if not self._alone.acquire(blocking=False):
            raise SnapshotBusy("another snapshot is being made; one at a time: wait until it is done")
        try:
            with told("the snapshot failed, and nothing of it stays"):
                path = self._new_path(name)
                for _ in range(ATTEMPTS):
                    if self._made(path, progress or silent):
                        return record_of(path)
            raise StoreBusy(f"the index was rewritten {ATTEMPTS} times while a snapshot was made; try again")
        finally:
            self._alone.release()

    def list(self) -> Records:
        """A record of every snapshot, the oldest first; one that cannot be read has `name`, `bytes` and `error`."""
        records = [self._described(path) for path in self._layout.snapshots.glob("*.tar")]
        return sorted(records, key=lambda record: (record.get("created", ""), record["name"]))

    def path(self, name: str) -> Path:
        """The file of a snapshot; SnapshotNotFound when there is none, or the name cannot be one."""
        path = self._layout.snapshots / f"{name}.tar"
        if not re.fullmatch(NAME, name) or not _is_plain(path):
            raise SnapshotNotFound(f"there is no snapshot {name!r}")
        return path

    def delete(self, name: str) -> None:
        """Remove a snapshot durably; SnapshotNotFound when there is none, StoreUnavailable when nobody knows."""
        try:
            self.path(name).unlink()
            sync_directory(self._layout.snapshots)
        except FileNotFoundError:
            raise SnapshotNotFound(f"there is no snapshot {name!r}") from None
        except OSError as error:
            raise StoreUnavailable(f"the snapshot {name!r} may be there or not: {error}") from error

    def older_than(self, generation: int) -> Names:
        """Names of snapshots of earlier generations, which may hold rows erased since; with those that cannot be read.

        None of an earlier generation appears after the newest view is of this one.
        """
        with self._publishing:
            found = [record for record in self.list() if re.fullmatch(NAME, record["name"])]
        return [record["name"] for record in found if record.get("generation", -1) < generation]

    def purge(self, names: Names) -> None:
        """Delete these; one that is gone already is no error."""
        for name in names:
            try:
                self.delete(name)
            except SnapshotNotFound:
                continue

    def close(self) -> None:
        """Give up the snapshot in progress, of which nothing stays, and refuse others."""
        self._closed.set()
        with self._alone:
            pass

    def _new_path(self, name: str | None) -> Path:
        if not self._layout.snapshots.exists():
            self._layout.snapshots.mkdir()
            sync_directory(self._layout.root)
        if name is None:
            now = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
            paths = (self._layout.snapshots / f"{now}-{number}.tar" for number in count(1))
            return next(path for path in paths if not os.path.lexists(path))
        if not re.fullmatch(NAME, name):
            raise InvalidInput(
                f"a snapshot's name has 1 to 64 of a-z, 0-9 and -, beginning with no -; got {name!r:.100}"
            )
        path = self._layout.snapshots / f"{name}.tar"
        if os.path.lexists(path):
            raise SnapshotExists(f"there is a snapshot {name!r} already; delete it, or choose another name")
        return path

    def _made(self, path: Path, progress: Progress) -> bool:
        """Whether it was made; if not, the moment that was copied is over."""
        temporary, copy = path.with_suffix(".tmp"), path.with_suffix(".documents.tmp")
        try:
            generation = self._written(temporary, copy, progress)
            return generation is not None and self._published(temporary, path, generation)
        finally:
            leftovers.remove((temporary, copy))

    def _published(self, temporary: Path, path: Path, generation: int) -> bool:
        with self._publishing:
            if self._newest().generation != generation:
                return False  # a compaction has ended: this one may hold what was erased
            temporary.replace(path)
            try:
                sync_directory(path.parent)
            except OSError:
                path.unlink(missing_ok=True)
                raise
        return True

    def _written(self, temporary: Path, copy: Path, progress: Progress) -> int | None:
        meter = Meter(self._check_open, progress, self._require_room())
        return write_snapshot(self._layout, self._documents, temporary, copy, meter)

    def _require_room(self) -> int:
        """Bytes that will be written: the documents twice, for their copy is put into the file."""
        view = self._newest()
        with self._documents.reader() as db:
            (pages,), (page,) = db.execute("PRAGMA page_count").fetchone(), db.execute("PRAGMA page_size").fetchone()
        others = [p for kind in ("*.npy", "*.faiss", "*.json") for p in self._layout.collection.glob(kind)]
        needed = 2 * pages * page + view.rows * (view.codec.row_bytes + 4) + sum(_size(path) for path in others)
        require_room(self._layout.snapshots, needed + MARGIN, "a snapshot")
        return int(needed)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StoreUnavailable("the store was closed while a snapshot was made; nothing of it stays")

    def _described(self, path: Path) -> Record:
        """The record, or why there is none: a foreign or damaged file must not hide the others."""
        try:
            if not _is_plain(path):
                raise StoreFormat("it is not a plain file")
            return record_of(path)
        except (FunnelError, OSError) as error:
            return {"name": path.stem, "bytes": _size(path), "error": str(error)}


def _is_plain(path: Path) -> bool:
    """Whether it is a file and no link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, ValueError, OSError):
        return False


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0

"""Compaction: the live rows are written again without the dead ones, whose bytes are then in no file.

Searches and writes go on meanwhile. Until the new documents file is renamed over the old one, nothing of it is in
force; after it, all is.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from index import leftovers
from index.calibrations import Calibrations
from index.database import Documents, StillRead
from index.errors import FunnelError, StoreBusy
from index.jobs import Exchange, Generation, Swap
from index.layout import Layout
from index.maintenance import Maintenance
from index.merger import Merger
from index.next_generation import NextGeneration
from index.options import StoreOptions
from index.progress import Progress
from index.room import require_room
from index.rotator import free_path, saved
from index.statistics import disk_bytes
from index.vectors import CHECKSUM_BYTES
from index.view import View
from index.writer import Writer

MARGIN = 1.05  # times what is needed, for what is written meanwhile
LULL, LOOK = 30.0, 0.002  # seconds in which a moment without readers is looked for, and between two looks
FIRST_PATIENCE = 0.25  # seconds that searches and writes wait for a reader before they go on; doubled at every try,
OWN = ("vectors", "."), ("shortlist", "-"), ("words", ".")  # files of a generation: what is before and after its number
MOST_PATIENCE = 2.0  # up to these
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compactor:
    """Compacts one store."""

    writer: Writer
    documents: Documents
    merger: Merger
    calibrations: Calibrations
    layout: Layout
    options: StoreOptions
    maintenance: Maintenance

    def compact(self, progress: Progress) -> dict[str, Any]:
        """See `Store.compact`; without the snapshots."""
        with self.maintenance.alone("a compaction is running"):
            self._check_open()
            before = disk_bytes(self.layout)["total"]
            try:
                base, view = self._compacted(progress)
            finally:
                self.writer.repainted = None
            return {
                "rows_before": base.rows,
                "rows_after": view.rows,
                "erased": 0 if view is base else base.rows - base.count,
                "bytes_before": before,
                "bytes_after": disk_bytes(self.layout)["total"],
                "generation": view.generation,
                "kept_by_repair": self._kept_by_repair(),
                "not_removed": self._not_removed(view),
            }

    def _compacted(self, progress: Progress) -> tuple[View, View]:
        """The view it began with, and the one that it put in force; the same one when nothing is dead."""
        numbers: list[int] = []
        base: View = self.writer.submit(Swap(lambda db, view: self._begin(db, view, numbers)))
        if base.all_live:
            if not self.documents.move_log("TRUNCATE"):  # metadata that was changed in place is in older pages
                raise StoreBusy("the log of the documents, which may hold old metadata, is still read; try again")
            return base, base
        self._check_room(base)
        made = NextGeneration(
            base, numbers[0], self.writer, self.documents, self.layout, self.options, progress, self._check_open
        )
        try:
            made.run()
            view = self._put_in_place(made)
        except Exception:  # an interrupt may come while the exchange goes on: what it leaves goes at the next start
            if self._undone(base):
                made.discard()
            raise
        self._tidy(base, made, view)
        return base, view

    def _begin(self, db: Connection, view: View, numbers: list[int]) -> View:
        """In the writer's thread: from this view on, changes of metadata are noted."""
        (pending,) = db.execute("SELECT pending FROM state").fetchone()
        numbers.append(view.generation + (1 if pending is None else 2))  # `reindex` may have left the next one
        self.writer.repainted = deque()
        return view

    def _kept_by_repair(self) -> list[str]:
        """What `funnel repair` saved for somebody to look at, which may hold anything."""
        kept = [path for kind in ("*.damaged-*", "lost-*.jsonl") for path in self.layout.root.rglob(kind)]
        return sorted(str(path.relative_to(self.layout.root)) for path in kept)

    def _not_removed(self, view: View) -> list[str]:
        """Files of earlier generations that are there still: what a disk would not let go of."""
        own = tuple(f"{kind}-{view.generation}{end}" for kind, end in OWN)
        found = [
            path.name for kind in ("vectors-*", "shortlist-*", "words-*") for path in self.layout.collection.glob(kind)
        ]
        return sorted(name for name in found if not name.startswith(own))

    def _check_room(self, base: View) -> None:
        needed = int(MARGIN * self._needed(base))
        require_room(self.layout.collection, needed, f"a compaction of {base.count:,} documents")

    def _needed(self, base: View) -> int:
        vectors = base.count * (base.codec.row_bytes + CHECKSUM_BYTES)
        with self.documents.reader() as db:
            pages, free, size = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
            )
        shortlist = base.count * base.shortlist.older.row_bytes if base.shortlist.older else 0
        return int(vectors + (pages - free) * size + shortlist)

    def _put_in_place(self, made: NextGeneration) -> View:
        with self.merger.files:
            path = free_path(self.layout, made.view)
            record = saved(made.view, path)
            try:
                made.ready()
                view = self._exchanged(made, record)
            except Exception:
                if self._undone(made.base):
                    leftovers.remove([path])
                raise
            self.merger.saved(view, path if record else None)
            return view

    def _exchanged(self, made: NextGeneration, record: str | None) -> View:
        """A reader that does not end, such as a snapshot, is waited for; everybody else waits for moments only."""

        def make(db: Connection, newest: View) -> Generation:
            return made.finish(db, newest, record)

        patience = FIRST_PATIENCE
        while True:
            self._wait_for_readers()
            made.catch_up()
            self.documents.move_log("PASSIVE")  # else nobody reads or writes while that is done
            try:
                view: View = self.writer.submit(Exchange(make, patience))
                return view
            except StillRead:
                patience = min(2 * patience, MOST_PATIENCE)

    def _wait_for_readers(self) -> None:
        """Until there is a moment without any, or so many seconds went by."""
        end = time.monotonic() + LULL
        while self.documents.read and time.monotonic() < end:
            self._check_open()
            time.sleep(LOOK)

    def _tidy(self, base: View, made: NextGeneration, view: View) -> None:
        """The old generation is of no use any more; what fails here is done at the next start."""
        made.close_old()
        own = self.layout.vectors(view.generation).stem
        leftovers.remove(old for old in self.layout.collection.glob("vectors-*") if old.stem != own)
        leftovers.remove(self.layout.collection.glob(f"{self.layout.words(base.generation).name}*"))
        try:
            self.calibrations.renumber(made.numbers.one)
        except (OSError, FunnelError) as error:
            log.warning("after a compaction: %s", error)

    def _undone(self, base: View) -> bool:
        """Whether the old generation is in force for sure, now and after a crash."""
        return self.writer.broken is None and self.documents.generation == base.generation

    def _check_open(self) -> None:
        self.maintenance.check_open("it was compacted")

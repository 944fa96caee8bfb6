"""The next generation under construction: vectors, documents and prefixes of the live rows alone, under new numbers.

It begins with one view and takes in what is committed meanwhile, the last of it in the writer's thread. Documents
deleted before it began leave no byte in it; those deleted meanwhile stay as dead rows until the next one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from sqlite3 import Connection

import numpy as np

from index import bits
from index.build import Build
from index.connections import discard
from index.copying import FILE, Copy
from index.database import Documents
from index.integrity import damaged
from index.jobs import Generation
from index.layout import Layout
from index.matrices import Matrices
from index.options import StoreOptions
from index.paging import prefetch_range
from index.progress import Progress
from index.renumbering import Renumbering
from index.rotation import Rotation
from index.shortlist import Shortlist
from index.vectors import VectorFile
from index.view import View
from index.writer import Writer

BLOCK = 4_096  # rows of vectors read at a time
BATCH = 256  # documents copied within one read transaction
CATCH_UP = 512  # changes that may be left to the writer's thread


class Steps:
    """Tells progress: vectors and documents by row, prefixes and graph by live row. Holds nothing that is large."""

    def __init__(self, rows: int, count: int, progress: Progress, check_open: Callable[[], None]) -> None:
        self._rows, self._count, self.total = rows, count, 2 * rows + 2 * count
        self._progress, self._check_open = progress, check_open

    def at(self, done: int) -> None:
        """So many steps are done; raises what stops the work."""
        self._check_open()
        self._progress(done, self.total)

    def of_prefixes(self, done: int, total: int) -> None:
        """The same of the last two parts, which are half as long without a graph."""
        self.at(2 * self._rows + min(2 * self._count, done))


class NextGeneration:
    """Made over `base`, whose rows it renumbers; `check_open` raises what stops it."""

    def __init__(
        self,
        base: View,
        number: int,
        writer: Writer,
        documents: Documents,
        layout: Layout,
        options: StoreOptions,
        progress: Progress,
        check_open: Callable[[], None],
    ) -> None:
        self.base = self.seen = base
        self.numbers, self._number = Renumbering(base), number
        self._writer, self._documents, self._check_open = writer, documents, check_open
        self._layout, self._options, self._old = layout, options, writer.vectors
        self._steps = Steps(base.rows, base.count, progress, check_open)
        self.rotation = _renumbered(base.rotation, self.numbers)
        self._files = ExitStack()

    def run(self) -> None:
        """Copy the rows of the view, make their prefixes, then catch up with commits since."""
        self._create()
        self._copy_vectors(self.base, 0, self.base.rows)
        for start, stop in _spans(0, self.base.rows, BATCH):
            self._steps.at(self.base.rows + start)
            with self._documents.reader() as db:
                self._copy.add(db, start, stop)
        live = replace(self._view(self.base), shortlist=Shortlist.empty(self.base.space.prefix_dim))
        self._build = Build(live, self.rotation, self._options, self._steps.of_prefixes, self._check_open)
        self._build.run(lambda: live)
        self.catch_up()

    def catch_up(self) -> None:
        """Take in what was committed meanwhile, but for what the writer's thread can do in a moment."""
        while self._behind(newest := self._writer.view) > CATCH_UP:
            self._check_open()
            repainted = self._repainted()  # before the moment that is read: a later one would not be in it
            with self._documents.reader() as db:
                self._take(db, newest, repainted)
        self._copy.sync()

    @property
    def view(self) -> View:
        """As far as it is done."""
        return replace(self._view(self.seen), shortlist=self._build.view.shortlist)

    def ready(self) -> None:
        """The last moment at which somebody may stop it."""
        self._steps.at(self._steps.total)

    def finish(self, db: Connection, newest: View, snapshot: str | None) -> Generation:
        """In the writer's thread: take in the last commits, and close the documents. Nothing stops it any more."""
        self._take(db, newest, self._repainted(), stoppable=False)
        view = replace(self.view, commits=newest.commits + 1)
        self._copy.check(bits.unpack(view.live, view.rows))
        record = Matrices(self.rotation, newest.query_map).to_json()
        numbers = {"generation": view.generation, "commits": view.commits, "rows": view.rows}
        self._copy.state(db, **numbers, rotation=record, snapshot=snapshot, pending=None)
        self._copy.close()
        self._copy.sync()
        return Generation(self._copy.path, self.vectors, view)

    def close_old(self) -> None:
        """Give back the vectors that it replaced; views of them stay valid, and keep their disk space."""
        self._old.close()

    def discard(self) -> None:
        """Leave nothing of it."""
        self._files.close()
        discard_files(self._layout, self._number)

    def _create(self) -> None:
        discard_files(self._layout, self._number)
        self.vectors = VectorFile(*self._layout.vector_files(self._number), self.base.codec, create=True)
        self._files.callback(self.vectors.close)
        self.vectors.reserve(self.base.count)
        with self._documents.reader() as db:
            self._copy = Copy(self._layout.collection / FILE, db, self.numbers)
        self._files.callback(self._copy.close)

    def _view(self, newest: View) -> View:
        """A view under the new numbers; its shortlist is still that of the old ones."""
        rows = self.numbers.one(newest.rows)
        return replace(
            newest,
            generation=self._number,
            rows=rows,
            epoch=newest.epoch + 1,  # no bitmap of a filter holds any more
            live=self.numbers.live(newest),
            matrix=self.vectors.matrix(rows),
            checksums=self.vectors.checksums(rows),
            rotation=self.rotation,
        )

    def _take(self, db: Connection, newest: View, repainted: set[int], stoppable: bool = True) -> None:
        seen, self.seen = self.seen, newest
        for start, stop in _spans(0, len(died := _died(seen, newest)), BATCH):
            self._copy.remove(died[start:stop])
        self._copy_vectors(newest, seen.rows, newest.rows)
        for start, stop in _spans(seen.rows, newest.rows, BATCH):
            self._copy.add(db, start, stop)
        for start, stop in _spans(0, len(rows := sorted(repainted)), BATCH):
            self._copy.repaint(db, rows[start:stop])
        self._build.read(self._view(newest), stoppable=stoppable)

    def _behind(self, newest: View) -> int:
        """How much there is to take in."""
        fresh = newest.rows - self.seen.rows
        died = self.seen.count + fresh - newest.count
        return fresh + died + len(self._writer.repainted or ())

    def _repainted(self) -> set[int]:
        """Rows whose metadata were committed anew, and that nobody has asked for yet."""
        noted, rows = self._writer.repainted, set()
        while noted:
            rows.add(noted.popleft())
        return rows

    def _copy_vectors(self, source: View, first: int, end: int) -> None:
        for start, stop in _spans(first, end, BLOCK):
            if end == self.base.rows:
                self._steps.at(start)
            prefetch_range(source.matrix, start, stop)
            alive = self.numbers.alive(start, stop)
            if wrong := [row for row in self._old.damaged(start, stop) if alive[row - start]]:
                raise damaged("vectors do not match their checksums, nothing was changed", wrong)
            if alive.any():
                self.vectors.write(self.numbers.one(start), source.matrix[start:stop][alive])


def discard_files(layout: Layout, number: int) -> None:
    """Remove what an interrupted compaction may have left, and only that."""
    discard(layout.collection / FILE)
    for path in layout.vector_files(number):
        path.unlink(missing_ok=True)


def _renumbered(rotation: Rotation | None, numbers: Renumbering) -> Rotation | None:
    return None if rotation is None else replace(rotation, through=numbers.one(rotation.through))


def _died(seen: View, newest: View) -> list[int]:
    """Rows that lived in one view and are dead in a later one."""
    before, now = bits.unpack(seen.live, seen.rows), bits.unpack(newest.live, newest.rows)
    died: list[int] = np.flatnonzero(before & ~now[: seen.rows]).tolist()
    return died


def _spans(start: int, stop: int, length: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + length, stop)) for first in range(start, stop, length))

"""Applies a rotation, or undoes it: new prefixes of every row beside the live ones, then one swap.

Searches and writes go on meanwhile. Until the swap's COMMIT nothing of it is in force; after it, all is.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from sqlite3 import Connection

import faiss
import numpy as np

from index import bits
from index.errors import RotationBusy, StorageFull, StoreUnavailable
from index.graph import ADD_SLICE, Graph
from index.layout import Layout
from index.matrices import Matrices, packed, write_durably
from index.matryoshka import turned, unit
from index.merger import Merger, chosen_codes, due, save_snapshot, snapshot_path
from index.options import StoreOptions
from index.paging import prefetch_range
from index.rotation import QueryMap, Rotation, check_prefix, checked_map, checked_rotation, fitted
from index.shortlist import Shortlist
from index.view import View
from index.writer import Swap, Writer

BLOCK = 4_096  # rows read at a time: 12 MB of float32 at 768 dimensions
CATCH_UP = 512  # rows committed meanwhile that may be left to the writer's thread: a millisecond of it
Progress = Callable[[int, int], None]


class Rotator:
    """One rotation at a time; `close` stops it before its swap."""

    def __init__(self, writer: Writer, merger: Merger, layout: Layout, options: StoreOptions) -> None:
        self._writer, self._merger, self._layout, self._options = writer, merger, layout, options
        self._busy, self._mapping, self._stop = threading.Lock(), threading.Lock(), threading.Event()

    def rotate(self, rotation: Rotation | None, progress: Progress | None = None) -> None:
        """See `Store.rotate`."""
        if not self._busy.acquire(blocking=False):
            raise RotationBusy("another rotation is being applied; wait until it is done")
        try:
            self._rotate(rotation, progress or _silent)
        finally:
            self._busy.release()

    def set_query_map(self, query_map: QueryMap | None) -> None:
        """See `Store.set_query_map`."""
        with self._mapping:
            made, name = None, None
            if query_map is not None:
                checked = checked_map(query_map, self._writer.view.space.dim)
                data, checksum = packed(checked.matrix)
                made, name = replace(checked, applied=_now(), checksum=checksum), Layout.query_map_name(checksum)
                write_durably(self._layout.collection / name, data)
            self._writer.submit(Swap(lambda db, view: _mapped(db, view, made)))
            _remove_others(self._layout, "query-map-*", name)

    def close(self) -> None:
        """Stop a rotation in progress, of which nothing stays, and refuse others."""
        self._stop.set()
        with self._busy, self._mapping:
            pass

    def _rotate(self, rotation: Rotation | None, progress: Progress) -> None:
        view = self._writer.view
        if rotation is None and view.rotation is None:
            return
        self._check_open()
        data, made = b"", None
        if rotation is not None:
            checked = checked_rotation(rotation, view.space.dim)
            data, checksum = packed(checked.matrix)
            made = replace(checked, checksum=checksum, rows=view.count, through=view.rows, applied=_now())
            check_prefix(fitted(view.space, made), made)
        build = Build(view, made, self._options, progress, self._check_open)
        build.run(lambda: self._writer.view)
        try:
            if made is not None:
                write_durably(self._layout.collection / Layout.rotation_name(made.checksum), data)
            self._put_in_place(build)
        except Exception:  # an interrupt may come while the swap goes on: what it leaves is removed at the next start
            self._remove_others_than(self._writer.view)
            raise
        self._remove_others_than(self._writer.view)

    def _put_in_place(self, build: "Build") -> None:
        with self._merger.files:
            self._check_open()
            path = snapshot_path(self._layout, build.view)
            record = _saved(build.view, path)
            try:
                build.catch_up(lambda: self._writer.view)
                build.ready()
                view = self._writer.submit(Swap(lambda db, newest: build.swap(db, newest, record)))
            except Exception:
                if self._writer.broken is None:
                    path.unlink(missing_ok=True)
                raise
            self._merger.saved(view, path if record else None)

    def _remove_others_than(self, view: View) -> None:
        if self._writer.broken is None:  # else nobody knows whether the state names the old one or the new one
            name = None if view.rotation is None else Layout.rotation_name(view.rotation.checksum)
            _remove_others(self._layout, "rotation-*", name)

    def _check_open(self) -> None:
        if self._stop.is_set():
            raise StoreUnavailable("the store was closed while a rotation was applied; nothing was changed")


@dataclass
class Build:
    """The next first stage: `view` is the view it began with, made over for the new rotation as far as it is done."""

    view: View
    rotation: Rotation | None
    options: StoreOptions
    progress: Progress
    check_open: Callable[[], None]
    live: View = field(init=False)
    total: int = 0  # steps, for progress
    energy: float = 0.0  # of the squared norms seen in live rows, the part in the prefix
    norm: float = 0.0

    def __post_init__(self) -> None:
        faiss.omp_set_num_threads(1)  # in this thread; the other cores answer searches
        self.live = self.view
        space = fitted(self.view.space, self.rotation)
        empty = Shortlist.empty(space.prefix_dim, self.view.rows + CATCH_UP)
        self.view = replace(self.view, space=space, rotation=self.rotation, shortlist=empty)

    def run(self, newest: Callable[[], View]) -> None:
        """Read the rows of the view, make the graph if there is to be one, then catch up with commits since."""
        graph = self._wants_graph()
        total = self.total = self.live.rows * (2 if graph else 1)
        self._read(self.live, total)
        if self.rotation is not None:
            energy = self.energy / self.norm if self.norm else 0.0
            self.rotation = replace(self.rotation, energy=energy)
            self.view = replace(self.view, rotation=self.rotation)
        if graph:
            self._graph(total)
        self.catch_up(newest)

    def catch_up(self, newest: Callable[[], View]) -> None:
        """Take in what was committed meanwhile, but for what the writer's thread can do in a moment."""
        while newest().rows - self.view.shortlist.rows > CATCH_UP:
            self._read(newest())

    def ready(self) -> None:
        """The last moment at which somebody may stop it."""
        self.check_open()
        if self.total:
            self.progress(self.total, self.total)

    def swap(self, db: Connection, newest: View, snapshot: str | None) -> View:
        """In the writer's thread: the newest view with these prefixes, and the rows committed meanwhile."""
        self._read(newest)
        view = replace(
            newest,
            commits=newest.commits + 1,
            space=self.view.space,
            rotation=self.rotation,
            shortlist=self.view.shortlist,
        )
        record = Matrices(self.rotation, newest.query_map).to_json()
        sql = "UPDATE state SET commits = commits + 1, rotation = ?, snapshot = ?, space = ?"
        db.execute(sql, (record, snapshot, view.space.to_json()))
        return view

    def _read(self, source: View, total: int = 0) -> None:
        for start in range(self.view.shortlist.rows, source.rows, BLOCK):
            self.check_open()
            stop = min(start + BLOCK, source.rows)
            self._add(source, start, stop, first=total > 0)
            if total:
                self.progress(stop, total)

    def _add(self, source: View, start: int, stop: int, first: bool) -> None:
        prefetch_range(source.matrix, start, stop)
        full = source.codec.decode(source.matrix[start:stop])
        rows = turned(full, self.view.space.prefix_dim, self.rotation.matrix if self.rotation else None)
        if first:
            alive = bits.unpack(source.live[start >> 3 :], stop - start)  # BLOCK is a multiple of 8
            self.energy += float(np.square(rows[alive], dtype=np.float64).sum())
            self.norm += float(np.square(full[alive], dtype=np.float64).sum())
        self.view = replace(self.view, shortlist=self.view.shortlist.appended(unit(rows)))

    def _wants_graph(self) -> bool:
        """As the live first stage, or as the merger would soon make it."""
        if self.view.searched.exact_only:
            return False
        tail = Shortlist(1, self.live.rows, np.empty((self.live.rows, 0), dtype=np.float32))
        return self.live.shortlist.graph is not None or due(replace(self.view, shortlist=tail), self.options)

    def _graph(self, total: int) -> None:
        rows = self.view.shortlist.tail
        done = count(len(rows), max(ADD_SLICE, len(rows) // 64))

        def between_slices() -> bool:
            self.check_open()
            self.progress(min(next(done), total), total)
            return False

        graph = Graph.empty(rows, chosen_codes(self.options, self.live)).extended(rows, between_slices)
        assert graph is not None  # it is stopped by an exception
        self.progress(total, total)
        self.view = replace(self.view, shortlist=self.view.shortlist.with_graph(graph))


def _mapped(db: Connection, view: View, query_map: QueryMap | None) -> View:
    """In the writer's thread: the newest view with this query map."""
    db.execute("UPDATE state SET commits = commits + 1, rotation = ?", (Matrices(view.rotation, query_map).to_json(),))
    return replace(view, commits=view.commits + 1, query_map=query_map)


def _saved(view: View, path: Path) -> str | None:
    """The record of the saved graph, if there is one; StorageFull when there is no room for it."""
    try:
        return save_snapshot(view, path)
    except (OSError, RuntimeError) as error:  # FAISS raises RuntimeError, without the reason
        for partial in (path, path.with_suffix(".tmp")):
            partial.unlink(missing_ok=True)
        raise StorageFull(f"the graph of the new prefixes could not be saved, nothing was changed: {error}") from None


def _remove_others(layout: Layout, pattern: str, name: str | None) -> None:
    for path in layout.collection.glob(pattern):
        if path.name != name:
            path.unlink(missing_ok=True)


def _silent(done: int, total: int) -> None:
    """Nobody listens."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

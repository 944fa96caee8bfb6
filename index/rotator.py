"""Applies a rotation, or undoes it: new prefixes of every row beside the live ones, then one swap.

Searches and writes go on meanwhile. Until the swap's COMMIT nothing of it is in force; after it, all is.
"""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection

import numpy as np

from index import leftovers
from index.build import Build
from index.errors import StorageFull
from index.jobs import Swap
from index.layout import Layout
from index.maintenance import Maintenance
from index.matrices import Matrices, packed, write_durably
from index.merger import Merger, save_snapshot, snapshot_path
from index.options import StoreOptions
from index.progress import Progress, silent
from index.rotation import QueryMap, Rotation, check_prefix, checked_map, checked_rotation, fitted
from index.view import View
from index.writer import Writer


class Rotator:
    """One rotation at a time; closing the maintenance stops it before its swap."""

    def __init__(
        self, writer: Writer, merger: Merger, layout: Layout, options: StoreOptions, maintenance: Maintenance
    ) -> None:
        self._writer, self._merger, self._layout, self._options = writer, merger, layout, options
        self._maintenance, self._mapping = maintenance, threading.Lock()

    def rotate(self, rotation: Rotation | None, progress: Progress | None = None) -> None:
        """See `Store.rotate`."""
        with self._maintenance.alone("a rotation is being applied"):
            self._rotate(rotation, progress or silent)

    def set_query_map(self, query_map: QueryMap | None) -> None:
        """See `Store.set_query_map`."""
        with self._mapping:
            self._check_open("query map")
            made = None
            if query_map is not None:
                checked = checked_map(query_map, self._writer.view.space.dim)
                data, checksum = packed(checked.matrix)
                made = replace(checked, applied=_now(), checksum=checksum)
                write_durably(self._layout.collection / Layout.query_map_name(checksum), data)
            try:
                self._writer.submit(Swap(lambda db, view: _mapped(db, view, made)))
            except Exception:  # as in _rotate
                self._remove_other_maps(self._writer.view)
                raise
            self._remove_other_maps(self._writer.view)

    def close(self) -> None:
        """Wait for a query map that is being set."""
        with self._mapping:
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
            if view.rotation is not None and _same(view.rotation, made):
                return
        build = Build(view, made, self._options, progress, self._check_open)
        build.run(lambda: self._writer.view)
        try:
            if made is not None:
                write_durably(self._layout.collection / Layout.rotation_name(made.checksum), data)
            self._put_in_place(build)
        except Exception:  # an interrupt may come while the swap goes on: what it leaves is removed at the next start
            self._remove_other_rotations(self._writer.view)
            raise
        self._remove_other_rotations(self._writer.view)

    def _put_in_place(self, build: Build) -> None:
        with self._merger.files:
            self._check_open()
            path = free_path(self._layout, build.view)
            record = saved(build.view, path)
            try:
                build.catch_up(lambda: self._writer.view)
                build.ready()
                view = self._writer.submit(Swap(lambda db, newest: build.swap(db, newest, record)))
            except Exception:
                if self._writer.broken is None:
                    leftovers.remove([path])
                raise
            self._merger.saved(view, path if record else None)

    def _remove_other_rotations(self, view: View) -> None:
        name = None if view.rotation is None else Layout.rotation_name(view.rotation.checksum)
        self._remove_others("rotation-*", name)

    def _remove_other_maps(self, view: View) -> None:
        name = None if view.query_map is None else Layout.query_map_name(view.query_map.checksum)
        self._remove_others("query-map-*", name)

    def _remove_others(self, pattern: str, name: str | None) -> None:
        if self._writer.broken is None:  # else nobody knows whether the state names the old one or the new one
            leftovers.remove(path for path in self._layout.collection.glob(pattern) if path.name != name)

    def _check_open(self, what: str = "rotation") -> None:
        self._maintenance.check_open(f"a {what} was applied")


def _same(one: Rotation, other: Rotation) -> bool:
    """Whether nothing would change, as when a request that was answered is sent again."""
    told = [(rotation.widths, rotation.method, dict(rotation.measured)) for rotation in (one, other)]
    return told[0] == told[1] and np.array_equal(one.matrix, other.matrix)


def _mapped(db: Connection, view: View, query_map: QueryMap | None) -> View:
    """In the writer's thread: the newest view with this query map."""
    db.execute("UPDATE state SET commits = commits + 1, rotation = ?", (Matrices(view.rotation, query_map).to_json(),))
    return replace(view, commits=view.commits + 1, query_map=query_map)


def free_path(layout: Layout, view: View) -> Path:
    """Where the graph is saved beside the live one, which has the same name when the same matrix is applied again."""
    path = snapshot_path(layout, view)
    return path.with_stem(f"{path.stem}-{view.commits}") if path.exists() else path


def saved(view: View, path: Path) -> str | None:
    """The record of the saved graph, if there is one; StorageFull when there is no room for it."""
    try:
        return save_snapshot(view, path)
    except (OSError, RuntimeError) as error:  # FAISS raises RuntimeError, without the reason
        leftovers.remove((path, path.with_suffix(".tmp")))
        raise StorageFull(f"the graph of the new prefixes could not be saved, nothing was changed: {error}") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

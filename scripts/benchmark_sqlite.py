"""sqlite-vec: a scan of full vectors in SQL, and a scan of prefixes whose best are ordered by full vectors."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import Setting, System, prefixes, shortlists

LOAD = 2_000
PLAIN = "select rowid from rows where full match ? and k = ? order by distance"
TWO_STAGES = """select rowid from (select rowid, full from rows where prefix match ? and k = ?)
    order by vec_distance_cosine(full, ?) limit ?"""


class SqliteVec(System):
    """One virtual table; a connection for each thread."""

    packages = ("sqlite-vec",)

    def __init__(self, prefix: bool = False) -> None:
        self._prefix, self._thread = prefix, threading.local()
        self._path = ""

    def load(self) -> None:
        global apsw, sqlite_vec
        import apsw
        import sqlite_vec

    def _connection(self) -> Any:
        if not hasattr(self._thread, "db"):
            db = apsw.Connection(self._path)
            db.enable_load_extension(True)
            db.load_extension(sqlite_vec.loadable_path())
            self._thread.db = db
        return self._thread.db

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Insert everything in one transaction."""
        self._path = str(folder / "rows.sqlite")
        columns = f"full float[{vectors.shape[1]}] distance_metric=cosine"
        if self._prefix:
            columns += ", prefix float[64] distance_metric=cosine"
        db = self._connection()
        db.execute(f"create virtual table rows using vec0({columns})")
        names, marks = ("rowid, full, prefix", "?, ?, ?") if self._prefix else ("rowid, full", "?, ?")
        with db:
            for start in range(0, len(vectors), LOAD):
                part = vectors[start : start + LOAD]
                short = prefixes(part)
                values = [
                    (start + place, row.tobytes(), *([short[place].tobytes()] if self._prefix else []))
                    for place, row in enumerate(part)
                ]
                db.executemany(f"insert into rows({names}) values ({marks})", values)
        db.close()

    def open(self, folder: Path) -> None:
        self._path = str(folder / "rows.sqlite")

    def settings(self, k: int) -> list[Setting]:
        return [{"shortlist": length} for length in shortlists(k)] if self._prefix else [{}]

    def prepare(self, query: np.ndarray) -> Any:
        return query.tobytes(), prefixes(query).tobytes()

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        def plain(query: Any) -> Any:
            return self._connection().execute(PLAIN, (query[0], k)).fetchall()

        def two_stages(query: Any) -> Any:
            given = (query[1], setting["shortlist"], query[0], k)
            return self._connection().execute(TWO_STAGES, given).fetchall()

        return two_stages if self._prefix else plain

    def rows(self, found: Any) -> Any:
        return (row for (row,) in found)

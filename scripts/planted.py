#!/usr/bin/env python3
"""Run `funnel` with a defect planted in memory, to see that a harness finds it.

A campaign that finds nothing is suspect: each of these breaks one promise, and a harness must say so. The product
knows nothing of them. skip-fsync is for power losses: a killed process leaves what it wrote in the page cache.

    ./scripts/planted.py drop-tombstone serve --data-dir /tmp/broken
    ./scripts/crash_test.py --plant acknowledge-before-commit --kills 100
"""

import os
import random
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
SELDOM = 0.05  # of the chances to do wrong are taken
LATE = 0.02  # seconds


def swapped(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of an attribute in its place; AttributeError when the product has none of that name."""
    setattr(owner, name, make(getattr(owner, name)))


def acknowledge_before_commit() -> None:
    """A write is answered when its job was applied, before vectors are synced and SQLite commits."""
    from index import writer

    resolve = writer._resolve

    def early(apply: Any) -> Any:
        def applied(self: Any, job: Any, batch: Any) -> Any:
            answer = apply(self, job, batch)
            resolve(job, answer)
            return answer

        return applied

    swapped(writer.Writer, "_apply", early)
    swapped(writer, "_resolve", lambda _: lambda job, answer: None if job.future.done() else resolve(job, answer))


def drop_tombstone() -> None:
    """A deleted document is now and then removed from memory alone."""
    from index import batch
    from index import documents as table

    def delete(work: Any, doc_ids: Sequence[str]) -> int:
        found = table.stored(work.db, list(dict.fromkeys(doc_ids)))
        for old in found.values():
            if random.random() < SELDOM:
                work.killed.append(old.row)
            else:
                work.kill(old)
        return len(found)

    swapped(batch, "delete", lambda _: delete)


def keep_old_row() -> None:
    """The row that an upsert replaced now and then stays alive in memory."""
    from index.batch import Batch

    def seldom(kill: Any) -> Any:
        def killed(self: Any, old: Any) -> None:
            kill(self, old)
            if random.random() < SELDOM:
                self.killed.pop()

        return killed

    swapped(Batch, "kill", seldom)


def late_vectors() -> None:
    """Vectors reach the file a moment after the commit that names their rows; until then there are zeros."""
    from index.vectors import VectorFile

    def later(write: Any) -> Any:
        def written(self: Any, start: int, raw: Any) -> None:
            write(self, start, raw * 0)
            threading.Timer(LATE, write, (self, start, raw.copy())).start()

        return written

    swapped(VectorFile, "write", later)


def half_a_document() -> None:
    """Some of the metadata of a document is now and then not in the table that filters look at."""
    from index import documents as table

    def half(whole: Any) -> Any:
        def indexed(db: sqlite3.Connection, fresh: Iterable[tuple[int, Iterable[Any]]]) -> None:
            whole(db, [(row, list(entries)[random.random() < SELDOM :]) for row, entries in fresh])

        return indexed

    swapped(table, "index_metadata", half)


def forgetful_compaction() -> None:
    """A compaction forgets what metadata changed in place while it copied."""
    from index.next_generation import NextGeneration

    swapped(NextGeneration, "_repainted", lambda _: lambda self: set())


def skip_fsync() -> None:
    """Nothing is synced: fsync does nothing, SQLite's synchronous is OFF."""
    for name in ("fsync", "fdatasync"):
        swapped(os, name, lambda _: lambda descriptor: None)

    class Lazy(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("synchronous=FULL", "synchronous=OFF"), *rest)

    swapped(sqlite3, "connect", lambda real: lambda *args, **named: real(*args, **{"factory": Lazy, **named}))


PLANTED: dict[str, Callable[[], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        acknowledge_before_commit, drop_tombstone, keep_old_row, late_vectors, half_a_document,
        forgetful_compaction, skip_fsync,
    )
}  # fmt: skip
SHOWN_BY_KILLS = [name for name in PLANTED if name != "skip-fsync"]


def plant(name: str) -> None:
    """Plant a defect in this process, before it opens a store."""
    PLANTED[name]()


def main() -> None:
    """`planted.py NAME ARGUMENTS OF FUNNEL`."""
    if len(sys.argv) < 3 or sys.argv[1] not in PLANTED:
        described = "\n".join(f"  {name:<28}{function.__doc__}" for name, function in PLANTED.items())
        print(f"{__doc__}\nusage: planted.py NAME ARGUMENTS OF FUNNEL\n\n{described}")
        sys.exit(0 if "--help" in sys.argv[1:] else 2)
    plant(sys.argv[1])
    sys.argv = ["funnel", *sys.argv[2:]]
    from app.cli import main as funnel

    funnel()


if __name__ == "__main__":
    main()

"""Checks laws 3 to 5 on a data directory: what is stored agrees with itself, byte for byte."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.codec import make_codec
from index.database import Documents, State
from index.document import metadata_hash, text_hash
from index.documents import live_mask
from index.errors import StoreCorrupt
from index.graph import Graph
from index.layout import Layout
from index.matrices import load_matrix, parts
from index.matryoshka import prefixes
from index.merger import load_snapshot
from index.metadata import entries
from index.opening import offline
from index.rotation import ORTHOGONAL, orthogonality
from index.space import Space
from index.vectors import VectorFile

BLOCK = 4_096
NORM_TOLERANCE = 5e-3  # of the lossiest codec, bfloat16
PREFIX_TOLERANCE = {"float32": 1e-6, "int8": 1e-2}  # of the graph's codes, about one step of them
NAMED = 5  # rows named in a message
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """All checks of a directory, and the number of live documents."""

    checks: list[Check]
    count: int

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


def verify(path: Path, progress: Progress | None = None) -> Report:
    """Read everything a directory holds; raises StoreLocked, StoreFormat or StoreCorrupt if it cannot be read."""
    with offline(Path(path)) as (layout, documents):
        return _report(layout, documents, progress)


def _report(layout: Layout, documents: Documents, progress: Progress | None) -> Report:
    state = documents.state()
    space = Space.from_json(state.space)
    codec = make_codec(state.storage, space.dim)
    paths = layout.vectors(state.generation), layout.checksums(state.generation)
    vectors = VectorFile(*paths, codec, create=state.rows == 0)  # a first start may have ended before it made them
    try:
        with documents.reader() as db:
            live = live_mask(db, max(state.rows, _last_row(db) + 1))
            checks = [_sqlite(db), _rows(live, state), _texts(db), _metadata(db)]
        rotation, matrices = _matrices(layout, state, space)
        checks += matrices
        checks.append(_snapshot(layout, state, space, vectors, rotation))
        checks += _vectors(vectors, live[: state.rows], progress)
    finally:
        vectors.close()
    return Report(checks, int(live.sum()))


def _sqlite(db: sqlite3.Connection) -> Check:
    found = [line for (line,) in db.execute("PRAGMA integrity_check(5)")]
    return Check("documents file", found == ["ok"], "; ".join(found))


def _last_row(db: sqlite3.Connection) -> int:
    (last,) = db.execute("SELECT max(row) FROM documents").fetchone()
    return -1 if last is None else int(last)


def _rows(live: np.ndarray, state: State) -> Check:
    beyond = np.flatnonzero(live[state.rows :]) + state.rows
    detail = f"{int(live.sum())} documents in {state.rows} rows"
    if len(beyond):
        detail = f"documents name rows past the {state.rows} committed: {_some(beyond)}"
    return Check("rows", not len(beyond), detail)


def _stored(db: sqlite3.Connection) -> Iterator[sqlite3.Row]:
    sql = "SELECT row, title, text, metadata, content_hash, document_hash FROM documents ORDER BY row"
    return iter(db.execute(sql))


def _texts(db: sqlite3.Connection) -> Check:
    wrong = []
    for row, title, text, metadata, content_hash, document_hash in _stored(db):
        # Only the text's part of the content hash: a vector of the user's own is kept rounded.
        digest = text_hash(title, text)
        if content_hash[: len(digest)] != digest or metadata_hash(metadata, content_hash) != document_hash:
            wrong.append(row)
    return Check("texts and metadata", not wrong, f"hash mismatch in rows {_some(wrong)}" if wrong else "hashes agree")


def _metadata(db: sqlite3.Connection) -> Check:
    expected = actual = 0
    missing = []
    for row, metadata in db.execute("SELECT row, metadata FROM documents"):
        wanted = {(*entry, row) for entry in entries(json.loads(metadata))}
        expected += len(wanted)
        for entry in wanted:
            sql = "SELECT count(*) FROM metadata WHERE key = ? AND type = ? AND value = ? AND row = ?"
            if not db.execute(sql, entry).fetchone()[0]:
                missing.append(row)
    (actual,) = db.execute("SELECT count(*) FROM metadata").fetchone()
    ok = not missing and actual == expected
    return Check("inverted metadata", ok, f"{actual} entries, {expected} expected" + _of(missing))


def _matrices(layout: Layout, state: State, space: Space) -> tuple[np.ndarray | None, list[Check]]:
    """The rotation, if it can be read, and a check of each matrix that the state names."""
    rotation, checks = None, []
    for name, record in zip(("rotation", "query map"), parts(state.rotation), strict=True):
        if record is None:
            continue
        try:
            matrix = load_matrix(layout.collection / record["file"], record["crc32"], space.dim)
        except StoreCorrupt as error:
            checks.append(Check(name, False, str(error)))
            continue
        ok, detail = True, record["file"]
        if name == "rotation":
            rotation, off = matrix, orthogonality(matrix)
            ok, detail = off <= ORTHOGONAL, f"orthogonal to {off:.1g}, {ORTHOGONAL} is allowed"
        checks.append(Check(name, ok, detail))
    return rotation, checks


def _snapshot(layout: Layout, state: State, space: Space, vectors: VectorFile, rotation: np.ndarray | None) -> Check:
    if state.snapshot is None:
        return Check("shortlist snapshot", True, "none, the prefixes are made at the start")
    graph = load_snapshot(state.snapshot, layout.collection, space.prefix_dim, state.rows)
    if graph is None:
        return Check("shortlist snapshot", False, "unreadable; it will be rebuilt at the next start")
    if parts(state.rotation)[0] is not None and rotation is None:
        return Check("shortlist snapshot", False, "its prefixes cannot be checked without their rotation")
    wrong = [row for start in range(0, graph.rows, BLOCK) for row in _wrong_prefixes(graph, vectors, start, rotation)]
    detail = f"prefixes differ in rows {_some(wrong)}" if wrong else f"{graph.rows} prefixes agree"
    return Check("shortlist snapshot", not wrong, detail)


def _wrong_prefixes(graph: Graph, vectors: VectorFile, start: int, rotation: np.ndarray | None) -> list[int]:
    stop = min(start + BLOCK, graph.rows)
    full = vectors.codec.decode(vectors.matrix(stop)[start:])
    expected = graph.rounded(prefixes(full, graph.dim, rotation))
    worst = np.abs(graph.prefixes(slice(start, stop)) - expected).max(axis=1)
    return (start + np.flatnonzero(worst > PREFIX_TOLERANCE[graph.codes])).tolist()


def _vectors(vectors: VectorFile, live: np.ndarray, progress: Progress | None) -> list[Check]:
    damaged: list[int] = []
    odd: list[int] = []
    for start in range(0, len(live), BLOCK):
        stop = min(start + BLOCK, len(live))
        damaged += vectors.damaged(start, stop)
        norms = np.linalg.norm(vectors.codec.decode(vectors.matrix(stop)[start:]), axis=1)
        sound = np.abs(norms - 1) <= NORM_TOLERANCE  # False for NaN
        odd += (start + np.flatnonzero(~sound & live[start:stop])).tolist()
        if progress:
            progress(stop, len(live))
    return [
        Check("vector checksums", not damaged, f"{len(live)} rows" + _of(damaged)),
        Check("vector norms", not odd, f"{int(live.sum())} unit vectors" + _of(odd)),
    ]


def _of(rows: list[int]) -> str:
    return f"; wrong in rows {_some(rows)}" if rows else ""


def _some(rows: list[int] | np.ndarray) -> str:
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return ", ".join(str(row) for row in rows[:NAMED]) + more

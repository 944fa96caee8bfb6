"""Checks laws 3 to 5 on a data directory: what is stored agrees with itself, byte for byte."""

from contextlib import closing
from pathlib import Path

import numpy as np

from index.check import Check, Report
from index.codec import stored_codec
from index.database import Documents
from index.documents import live_mask
from index.errors import StoreCorrupt, StoreFormat
from index.integrity import some
from index.layout import Layout, acquire_lock
from index.log_file import check_log
from index.matrices import load_part, parts
from index.matryoshka import prefixes
from index.merger import load_snapshot
from index.older import Older
from index.progress import Progress
from index.rotation import ORTHOGONAL, orthogonality
from index.space import Space
from index.tables import State
from index.vectors import VectorFile
from index.verify_documents import DOCUMENTS_LOST, check_documents, last_row
from index.verify_files import check_calibration, check_manifest, check_snapshots, check_strays

BLOCK = 4_096
NORM_TOLERANCE = 5e-3  # of the lossiest codec, bfloat16
PREFIX_TOLERANCE = {"float32": 1e-6, "int8": 1e-2, "pq4": 1e-6}  # of int8 codes about one step
VECTORS_LOST = (
    "`funnel repair` sets single flipped bits back and embeds texts again; else it saves these documents in a file "
    "and takes them out of the index"
)
MATRIX_LOST = "vectors and texts are whole: bring the file back, or give it up with `funnel repair`"
DERIVED = "derived, nothing is lost: it is made again at the next start"


def verify(path: Path, progress: Progress | None = None) -> Report:
    """Read everything that a directory holds, and change nothing; `progress` gets (rows done, rows).

    Raises StoreLocked, and StoreFormat when there is nothing to look at or it is of a newer version.
    """
    layout = Layout(Path(path))
    if not layout.exists():
        raise StoreFormat(f"there is no index in {path}")
    with closing(acquire_lock(layout)):
        checks = [check_manifest(layout), check_log(layout), check_snapshots(layout), check_calibration(layout)]
        if not all(check.ok for check in checks if check.name == "write-ahead log"):
            return Report(checks, 0)  # to open the documents would make an end of what can be saved of it
        try:
            with closing(Documents(layout.documents)) as documents:
                return _report(layout, documents, checks, progress)
        except StoreCorrupt as error:
            return Report([*checks, Check("documents file", False, str(error), DOCUMENTS_LOST)], 0)


def _report(layout: Layout, documents: Documents, checks: list[Check], progress: Progress | None) -> Report:
    state = documents.state()
    space = Space.from_json(state.space)
    codec = stored_codec(state.storage, space.dim)
    paths = layout.vector_files(state.generation)
    with documents.reader() as db:
        live = live_mask(db, max(state.rows, last_row(db) + 1))
        checks += check_documents(db, live, state.rows)
    checks.append(check_strays(layout, state))
    rotation, matrices = _matrices(layout, state, space)
    checks += matrices
    try:
        vectors = VectorFile(*paths, codec, create=state.rows == 0)  # a first start may have ended before it made them
        with closing(vectors):
            checks.append(_snapshot(layout, state, vectors, rotation, live))
            checks += _vectors(vectors, live[: state.rows], progress)
    except StoreCorrupt as error:
        checks.append(Check("vector checksums", False, str(error), VECTORS_LOST))
    return Report(checks, int(live.sum()))


def _matrices(layout: Layout, state: State, space: Space) -> tuple[np.ndarray | None, list[Check]]:
    """The rotation, if it can be read, and a check of each matrix that the state names."""
    rotation, checks = None, []
    for name, record in zip(("rotation", "query map"), parts(state.rotation), strict=True):
        if record is None:
            continue
        try:
            matrix = load_part(record, layout.collection, space.dim)
        except StoreCorrupt as error:
            checks.append(Check(name, False, str(error), MATRIX_LOST))
            continue
        ok, detail = True, record["file"]
        if name == "rotation":
            rotation, off = matrix, orthogonality(matrix)
            ok, detail = off <= ORTHOGONAL, f"orthogonal to {off:.1g}, {ORTHOGONAL} is allowed"
        checks.append(Check(name, ok, detail, MATRIX_LOST))
    return rotation, checks


def _snapshot(
    layout: Layout, state: State, vectors: VectorFile, rotation: np.ndarray | None, live: np.ndarray
) -> Check:
    if state.snapshot is None:
        return Check("shortlist snapshot", True, "none, the prefixes are made at the start")
    prefix_dim = Space.from_json(state.space).prefix_dim
    older = load_snapshot(state.snapshot, layout.collection, prefix_dim, state.rows)
    if older is None:
        return Check("shortlist snapshot", False, "unreadable", DERIVED)
    if parts(state.rotation)[0] is not None and rotation is None:
        return Check("shortlist snapshot", False, "its prefixes cannot be checked without their rotation", DERIVED)
    blocks = (_wrong_prefixes(older, vectors, start, rotation) for start in range(0, older.rows, BLOCK))
    wrong = [row for rows in blocks for row in rows if live[row]]
    detail = f"prefixes differ in rows {some(wrong)}" if wrong else f"{older.rows} prefixes agree"
    return Check("shortlist snapshot", not wrong, detail, "derived: `funnel repair` drops it")


def _wrong_prefixes(older: Older, vectors: VectorFile, start: int, rotation: np.ndarray | None) -> list[int]:
    stop = min(start + BLOCK, older.rows)
    full = vectors.codec.decode(vectors.matrix(stop)[start:])
    expected = older.rounded(prefixes(full, older.dim, rotation))
    worst = np.abs(older.prefixes(slice(start, stop)) - expected).max(axis=1)
    return (start + np.flatnonzero(worst > PREFIX_TOLERANCE[older.codes])).tolist()


def _vectors(vectors: VectorFile, live: np.ndarray, progress: Progress | None) -> list[Check]:
    damaged: list[int] = []
    odd: list[int] = []
    for start in range(0, len(live), BLOCK):
        stop = min(start + BLOCK, len(live))
        damaged += vectors.damaged(start, stop)
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.linalg.norm(vectors.codec.decode(vectors.matrix(stop)[start:]), axis=1)
        sound = np.abs(norms - 1) <= NORM_TOLERANCE  # False for NaN
        odd += (start + np.flatnonzero(~sound & live[start:stop])).tolist()
        if progress:
            progress(stop, len(live))
    dead = [row for row in damaged if not live[row]]
    alive = [row for row in damaged if live[row]]
    detail = f"{len(live)} rows" + _of(alive) + (f"; nobody needs the damaged dead rows {some(dead)}" if dead else "")
    return [
        Check("vector checksums", not alive, detail, VECTORS_LOST),
        Check("vector norms", not odd, f"{int(live.sum())} unit vectors" + _of(odd), VECTORS_LOST),
    ]


def _of(rows: list[int]) -> str:
    return f"; wrong in rows {some(rows)}" if rows else ""

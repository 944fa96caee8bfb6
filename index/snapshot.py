"""What a snapshot is made of: every file of one committed moment, opened, measured and read with its checksums."""

import json
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from index import seal
from index.archive import CHUNK, file_chunks
from index.calibrations import Calibrations
from index.codec import Codec, stored_codec
from index.database import Documents, peek
from index.errors import StoreCorrupt
from index.intact import check_intact
from index.integrity import some
from index.layout import Layout
from index.matrices import parts
from index.space import Space
from index.tables import State
from index.vectors import CHECKSUM_BYTES, row_checksums

FORMAT, VERSION = "funnel-search-snapshot", 1
HEADER_NAME = "snapshot.json"
STEP = 100_000  # of SQLite's instructions between two looks at whether anybody still wants the copy
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """A file of a snapshot: its name in it, its bytes, and how to read them once."""

    name: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


class Moved(Exception):
    """A file was replaced before it could be opened: the copied moment is over, take another one."""


def copy_documents(documents: Documents, path: Path, check: Callable[[], None]) -> State:
    """Copy one committed moment of the SQLite file to `path`, compact and without a WAL, while writes go on.

    `check` is called now and then; what it raises ends the copy. Raises StorageFull, StoreCorrupt.
    """
    stopped: list[BaseException] = []
    with documents.reader() as db:
        db.execute("ROLLBACK")  # VACUUM brings a transaction of its own
        db.set_progress_handler(partial(_gone, check, stopped), STEP)
        try:
            db.execute("VACUUM INTO ?", (str(path.absolute()),))
        except sqlite3.OperationalError:
            if stopped:
                raise stopped[0] from None
            raise
        finally:
            db.set_progress_handler(None, 0)
    return peek(path)


def check_copy(copy: Path, state: State, check: Callable[[], None]) -> None:
    """Raise StoreCorrupt when a copied document is damaged, or missing: nobody could restore what was made of it."""
    with closing(sqlite3.connect(copy)) as db:
        check_intact(db, state.rows, check)


def open_members(layout: Layout, copy: Path, state: State, stack: ExitStack) -> list[Member]:
    """Every member but the first and the last, their files open until the stack is closed.

    Graph and calibration are left out where they are gone or damaged: they can be made again. Raises Moved when a
    file that is needed was replaced meanwhile, StoreCorrupt or StoreFormat when one is damaged.
    """
    layout.check_format()
    base = layout.collection.relative_to(layout.root)
    graph = _graph(layout, state, stack)
    _tidy(copy, None if graph is None else state.snapshot)
    codec = stored_codec(state.storage, Space.from_json(state.space).dim)
    members = [_plain(layout.manifest.name, _opened(layout.manifest, stack))]
    members += [_matrix(layout, part, stack) for part in parts(state.rotation) if part]
    members.append(_plain(str(base / layout.documents.name), _opened(copy, stack)))
    members += _vectors(layout, state, codec, stack)
    if Calibrations(layout).kept is not None:
        members.append(_plain(str(base / layout.calibration.name), _opened(layout.calibration, stack)))
    return members if graph is None else [*members, graph]


def header(state: State, copy: Path, created: str, members: list[Member]) -> dict[str, Any]:
    """What `snapshot.json` says."""
    with closing(sqlite3.connect(copy)) as db:
        (count,) = db.execute("SELECT count(*) FROM documents").fetchone()
    space = json.loads(state.space)
    return {
        "format": FORMAT,
        "version": VERSION,
        "created": created,
        "generation": state.generation,
        "commits": state.commits,
        "rows": state.rows,
        "count": count,
        "fingerprint": Space.from_json(state.space).fingerprint_id,
        "space": space,
        "storage": state.storage,
        "members": {member.name: member.size for member in members},
    }


def _gone(check: Callable[[], None], stopped: list[BaseException]) -> int:
    """For SQLite, which is told by a number whether to stop, and swallows errors: they are kept in `stopped`."""
    try:
        check()
    except BaseException as error:
        stopped.append(error)
        return 1
    return 0


def _tidy(copy: Path, snapshot: str | None) -> None:
    """Name no files that the snapshot does not have."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=MEMORY")
        db.execute("BEGIN")
        db.execute("UPDATE state SET pending = NULL, snapshot = ?", (snapshot,))
        seal.press(db)
        db.execute("COMMIT")


def _opened(path: Path, stack: ExitStack) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise Moved(f"{path} is missing") from None
    stack.callback(os.close, descriptor)
    return descriptor


def _plain(name: str, descriptor: int) -> Member:
    size = os.fstat(descriptor).st_size
    return Member(name, size, lambda: file_chunks(partial(os.pread, descriptor), size))


def _graph(layout: Layout, state: State, stack: ExitStack) -> Member | None:
    """The file of the graph that the state names, if its bytes are those that were saved."""
    if state.snapshot is None:
        return None
    record = json.loads(state.snapshot)
    path = layout.collection / Path(record["file"]).name
    try:
        member = _plain(str(path.relative_to(layout.root)), _opened(path, stack))
    except Moved:
        return None
    if _checksum(member) != record["checksum"]:
        log.warning("%s does not match its checksum and is left out of the snapshot", path)
        return None
    return member


def _matrix(layout: Layout, record: dict[str, Any], stack: ExitStack) -> Member:
    path = layout.collection / Path(record["file"]).name
    member = _plain(str(path.relative_to(layout.root)), _opened(path, stack))
    if (actual := _checksum(member)) != record["crc32"]:
        raise StoreCorrupt(
            f"{path} does not match its checksum, expected {record['crc32']}, found {actual}: no snapshot was made; "
            "see `funnel repair`"
        )
    return member


def _checksum(member: Member) -> int:
    crc = 0
    for chunk in member.chunks():
        crc = zlib.crc32(chunk, crc)
    return crc


def _vectors(layout: Layout, state: State, codec: Codec, stack: ExitStack) -> list[Member]:
    paths = layout.vector_files(state.generation)
    data, sums = (_opened(path, stack) for path in paths)
    names = [str(path.relative_to(layout.root)) for path in paths]
    length = state.rows * CHECKSUM_BYTES
    return [
        Member(
            names[0], state.rows * codec.row_bytes, lambda: _rows(data, sums, codec.row_bytes, state.rows, paths[0])
        ),
        Member(names[1], length, lambda: file_chunks(partial(os.pread, sums), length)),
    ]


def _rows(data: int, sums: int, row_bytes: int, rows: int, path: Path) -> Iterator[bytes]:
    """The vectors, each looked at with its checksum; StoreCorrupt with the first rows that are damaged."""
    step = max(1, CHUNK // row_bytes)
    for start in range(0, rows, step):
        count = min(step, rows - start)
        raw = os.pread(data, count * row_bytes, start * row_bytes)
        stored = os.pread(sums, count * CHECKSUM_BYTES, start * CHECKSUM_BYTES)
        if len(raw) < count * row_bytes or len(stored) < count * CHECKSUM_BYTES:
            raise StoreCorrupt(f"{path} or its checksums end before row {rows:,}; see `funnel verify`")
        actual = row_checksums(np.frombuffer(raw, np.uint8).reshape(count, row_bytes), start)
        if len(wrong := np.flatnonzero(actual != np.frombuffer(stored, "<u4"))):
            named = some((start + wrong).tolist())
            raise StoreCorrupt(f"{path} is damaged in rows {named}: no snapshot was made; see `funnel repair`")
        yield raw

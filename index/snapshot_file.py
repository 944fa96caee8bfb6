"""The file of a snapshot: written while searches and writes go on, and told about without reading it all."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from index.archive import END, SUMS, room_of, small_member, sums_text, write_member
from index.database import Documents
from index.errors import StoreCorrupt, StoreFormat
from index.layout import Layout
from index.progress import Progress
from index.snapshot import FORMAT, HEADER_NAME, VERSION, Member, Moved, check_copy, copy_documents, header, open_members
from index.tables import State

SYNC = 32 << 20  # bytes written between two syncs, so that commits never wait for many of them
TOLD = ("created", "generation", "commits", "rows", "count", "fingerprint", "storage")
Record = dict[str, Any]


@dataclass
class Meter:
    """Counts bytes, tells of them, and syncs what was written now and then. `check` ends the work by raising."""

    check: Callable[[], None]
    progress: Progress
    total: int
    done: int = 0
    unsynced: int = field(default=0, init=False)

    def tell(self, copy: Path) -> None:
        """While the documents are copied, and looked at."""
        self.check()
        self.progress(min(copy.stat().st_size if copy.exists() else 0, self.total), self.total)

    def through(self, chunks: Iterator[bytes], file: BinaryIO) -> Iterator[bytes]:
        """The chunks, on their way into the file."""
        for chunk in chunks:
            self.check()
            yield chunk
            self.done += len(chunk)
            self.unsynced += len(chunk)
            self.progress(self.done, self.total)
            if self.unsynced >= SYNC:
                os.fdatasync(file.fileno())
                self.unsynced = 0


def write_snapshot(layout: Layout, documents: Documents, path: Path, copy: Path, meter: Meter) -> int | None:
    """Write one committed moment to a new file, and sync it; `copy` is a free name for a file needed meanwhile.

    Returns its generation; None when a compaction or rotation took the moment's files away before they were open.
    Raises StorageFull, StoreCorrupt, OSError, and what the meter raises.
    """
    created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def told() -> None:
        meter.tell(copy)

    state = copy_documents(documents, copy, told)
    check_copy(copy, state, told)
    with ExitStack() as stack:
        try:
            members = open_members(layout, copy, state, stack)
        except Moved as moved:
            if not _still(documents, state):
                return None
            raise StoreCorrupt(f"{moved}, which the index needs; see `funnel verify`") from None
        head = json.dumps(header(state, copy, created, members), indent=1).encode() + b"\n"
        meter.done, meter.total = copy.stat().st_size, copy.stat().st_size + sum(member.size for member in members)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
            _write(file, head, members, meter)
    return state.generation


def read_header(data: bytes) -> Record:
    """What the bytes of `snapshot.json` say; StoreFormat when it is not one of ours, or of another version."""
    try:
        head = json.loads(data)
        form, version = head["format"], head["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreFormat(f"this is no snapshot: {HEADER_NAME} cannot be read: {error!r:.200}") from None
    if form != FORMAT or version != VERSION:
        raise StoreFormat(f"it has format {form!r:.99} version {version!r:.99}; this program reads version {VERSION}")
    if not _sound(head):
        raise StoreFormat(f"this is no snapshot: {HEADER_NAME} does not say what one says")
    return dict(head)


def record_of(path: Path) -> Record:
    """What a list of snapshots tells of one, from its first and its last member; StoreFormat, StoreCorrupt, OSError.

    `sha256` is that of its SHA256SUMS, and so of all that it holds.
    """
    with path.open("rb") as file:
        head, size = read_header(small_member(file, HEADER_NAME)), os.fstat(file.fileno()).st_size
        file.seek(file.tell() + sum(room_of(length) for length in head["members"].values()))
        sums = small_member(file, SUMS)
    told = {name: head[name] for name in TOLD}
    return {"name": path.stem, "bytes": size, **told, "sha256": hashlib.sha256(sums).hexdigest()}


def _write(file: BinaryIO, head: bytes, members: list[Member], meter: Meter) -> None:
    now = int(datetime.now(UTC).timestamp())
    sums = {HEADER_NAME: write_member(file, HEADER_NAME, len(head), [head], now)}
    for member in members:
        sums[member.name] = write_member(file, member.name, member.size, meter.through(member.chunks(), file), now)
    text = sums_text(sums)
    write_member(file, SUMS, len(text), [text], now)
    file.write(END)
    file.flush()
    os.fsync(file.fileno())


def _still(documents: Documents, state: State) -> bool:
    """Whether the index still names the files that a state names."""
    with documents.reader() as db:
        named = db.execute("SELECT generation, rotation FROM state").fetchone()
    return bool(named == (state.generation, state.rotation))


def _sound(head: Record) -> bool:
    numbers = all(type(head.get(name)) is int for name in ("generation", "commits", "rows", "count"))
    texts = all(type(head.get(name)) is str for name in ("created", "fingerprint", "storage"))
    members = head.get("members")
    sizes = isinstance(members, dict) and all(type(size) is int and size >= 0 for size in members.values())
    return numbers and texts and sizes

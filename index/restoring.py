"""A snapshot made a data directory again: checked byte for byte, verified, and only then in its place.

Everything is written below `.restoring` inside the new directory, which may be a mount; the manifest, which makes a
directory one of ours, is moved out last. Interrupted, nothing is left that opens as an index, and the same command
begins again.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from index.archive import SUMS, chunks_of, next_header, parsed_sums, small_member
from index.errors import InvalidInput, StoreCorrupt, StoreFormat
from index.layout import Layout, acquire_lock, sync_directory
from index.room import require_room
from index.snapshot import HEADER_NAME
from index.snapshot_file import read_header
from index.told import told
from index.verify import verify

STAGING = ".restoring"
IGNORED = {"LOCK", "lost+found"}  # may be in an empty directory
HASHED = r"[0-9a-f]{8}"
KNOWN = (
    r"manifest\.json|collections/default/(documents\.sqlite|calibration\.json|vectors-\d{1,18}\.(bin|crc)"
    rf"|rotation-{HASHED}\.npy|query-map-{HASHED}\.npy|shortlist-[0-9a-f-]{{1,64}}\.faiss)"
)
NEEDED = ("manifest.json", "collections/default/documents.sqlite")
Progress = Callable[[str, int, int], None]


def restore(file: BinaryIO, target: Path, size: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Make `target`, a directory that is missing or empty, a data directory of a snapshot; returns its header.

    `file` is read once from begin to end; `size` is its length, if that is known, and room for it is looked for first.
    `progress` gets (what, done, total). Raises InvalidInput when something is in the way, StoreFormat when it is no
    snapshot, StoreCorrupt when bytes are not those that were written or do not agree with each other, StoreLocked,
    StorageFull, StoreUnavailable.
    """
    with told("restoring failed, and nothing of it stays"):
        made = _make_directory(target)
        try:
            with closing(acquire_lock(Layout(target))):
                return _restored(file, target, size, progress or _silent)
        except BaseException:
            if made:
                shutil.rmtree(target, ignore_errors=True)
            raise


def _restored(file: BinaryIO, target: Path, size: int | None, progress: Progress) -> dict[str, Any]:
    _check_empty(target)
    staging = Layout(target / STAGING)
    try:
        staging.collection.mkdir(parents=True)
        if size is not None:
            require_room(target, size, "the snapshot")
        head = _unpacked(file, staging.root, progress)
        _verify(staging.root, progress)
        _move(staging, Layout(target))
    except BaseException:
        _wipe(target)
        raise
    shutil.rmtree(staging.root)
    return head


def _unpacked(file: BinaryIO, root: Path, progress: Progress) -> dict[str, Any]:
    """Write every member below `root`, synced, and compare checksums; the header of the snapshot."""
    data = small_member(file, HEADER_NAME)
    head = read_header(data)
    sizes = _checked_names(head["members"])
    sums, done, total = {HEADER_NAME: hashlib.sha256(data).hexdigest()}, 0, sum(sizes.values())
    for name, size in sizes.items():
        if (found := next_header(file)) != (name, size):
            raise StoreFormat(f"this is no snapshot: expected {name!r} of {size:,} bytes, found {found or 'the end'}")
        digest = hashlib.sha256()
        with open(root / name, "xb", opener=_private) as out:
            for chunk in chunks_of(file, name, size):
                digest.update(chunk)
                out.write(chunk)
                progress("restoring", done := done + len(chunk), total)
            out.flush()
            os.fsync(out.fileno())
        sums[name] = digest.hexdigest()
    _compare(sums, parsed_sums(small_member(file, SUMS)))
    return head


def _checked_names(members: dict[str, int]) -> dict[str, int]:
    """The members of a snapshot; StoreFormat when one could not be ours, or one that is needed is missing."""
    if strange := [name for name in members if not re.fullmatch(KNOWN, name)]:
        raise StoreFormat(f"this is no snapshot: no file of an index has the name {strange[0]!r:.200}")
    if missing := [name for name in NEEDED if name not in members]:
        raise StoreFormat(f"this is no snapshot: it has no {missing[0]}")
    return members


def _compare(actual: dict[str, str], wanted: dict[str, str]) -> None:
    if different := [name for name in actual.keys() | wanted.keys() if actual.get(name) != wanted.get(name)]:
        raise StoreCorrupt(f"the snapshot is damaged: wrong checksum of {', '.join(sorted(different))}")


def _verify(root: Path, progress: Progress) -> None:
    report = verify(root, lambda done, total: progress("verifying", done, total))
    if wrong := [f"{check.name}: {check.detail}" for check in report.checks if not check.ok]:
        raise StoreCorrupt(f"the snapshot does not agree with itself: {'; '.join(wrong)}")


def _move(staging: Layout, final: Layout) -> None:
    """Out of the temporary directory, the manifest last."""
    for directory in (staging.collection, staging.collection.parent, staging.root):
        sync_directory(directory)
    staging.collection.parent.rename(final.collection.parent)
    final.snapshots.mkdir()
    sync_directory(final.root)
    staging.manifest.rename(final.manifest)
    for directory in (final.root, final.root.parent):
        sync_directory(directory)


def _make_directory(target: Path) -> bool:
    """Whether it was missing; InvalidInput when it is something else."""
    if os.path.lexists(target):
        if not target.is_dir():
            raise InvalidInput(f"{target} is not a directory")
        return False
    target.mkdir(parents=True)
    return True


def _check_empty(target: Path) -> None:
    """Remove what an interrupted restore left; InvalidInput when there is anything else."""
    names = {entry.name for entry in target.iterdir()} - IGNORED
    if STAGING in names and names <= {STAGING, "collections", "snapshots"}:
        _wipe(target)
    elif names:
        named = ", ".join(sorted(names)[:5])
        raise InvalidInput(f"{target} is not empty, it holds {named}; restore into a new directory")


def _wipe(target: Path) -> None:
    """Empty a directory whose whole content is that of a restore; what makes it an index goes first."""
    Layout(target).manifest.unlink(missing_ok=True)
    for name in (STAGING, "collections", "snapshots"):
        shutil.rmtree(target / name, ignore_errors=True)


def _private(path: str, flags: int) -> int:
    """Opened as the index opens its files: for nobody else to read."""
    return os.open(path, flags, 0o640)


def _silent(what: str, done: int, total: int) -> None:
    """Nobody listens."""

"""Mends a closed directory: what is derived is made again, a flipped bit set back; what is lost is saved and named.

The documents file is made anew from all that its hashes vouch for, and the damaged one is kept beside it. While the
two change places the directory has no manifest, so that nothing but another repair opens it.
"""

import base64
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np

from index import leftovers
from index.check import Report
from index.database import Documents
from index.document import entries_of, is_embedded
from index.documents import INSERT, index_metadata
from index.errors import StoreFormat
from index.examining import Findings, examine
from index.forgetting import forget_damaged
from index.layout import Layout, acquire_lock, sync_directory
from index.manifest import NewerFormat, check_manifest, created_of, write_manifest
from index.matrices import write_durably
from index.progress import Progress, silent
from index.reindex import Embed
from index.salvage import Found
from index.vectors import CHECKSUM_BYTES, VectorFile
from index.verify import verify
from index.verify_files import damaged_snapshots

DOCUMENTS = {"documents file", "write-ahead log", "rows", "ids", "texts and metadata", "inverted metadata"}
Agree = Callable[[list[str]], bool]


def repair(
    path: Path,
    embed: Embed | None = None,
    agree: Agree = lambda told: True,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[str]:
    """Mend a directory that nobody has open; returns what was done, a sentence each, [] when nothing was wrong.

    `embed` makes (n, dim) vectors of texts again whose own are damaged. `agree` gets what will be done before
    anything is; with its no, and in a dry run, nothing changes. Raises StoreLocked, StoreFormat, StorageFull, and
    StoreCorrupt when nobody can tell any more what the files are.
    """
    layout = Layout(Path(path))
    _check_ours(layout)
    stamp = _stamp(layout)
    report = verify(layout.root) if layout.exists() else Report([], 0)
    wrong = {check.name for check in report.checks if not check.ok}
    if layout.exists() and not wrong:
        return []
    with closing(acquire_lock(layout)):
        _take_up(layout)
        work = layout.collection / "repair.tmp"
        try:
            findings = _examined(layout, work, embed, progress)
            findings.changed = findings.changed or not layout.exists() or bool(wrong & DOCUMENTS)
            told = _told(findings, wrong, layout, stamp)
            if dry_run or not agree(told):
                return told
            _act(layout, findings, wrong, stamp, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if wrong & {"rotation", "query map"}:
        forget_damaged(layout.root)
    return told


def _check_ours(layout: Layout) -> None:
    if not layout.documents.exists():
        raise StoreFormat(f"there is no documents file in {layout.collection}: nothing to repair; restore a snapshot")
    try:
        check_manifest(layout.manifest)
    except NewerFormat:
        raise
    except StoreFormat:
        return


def _take_up(layout: Layout) -> None:
    """A repair that was interrupted while the files changed places begins again with the damaged ones."""
    mark = _mark(layout)
    if layout.exists() or not mark.exists():  # what an earlier repair kept is none of this one's
        return
    kept = layout.collection / Path(mark.read_text(errors="replace")).name
    if (log := kept.with_name(f"{kept.name}-wal")).exists():
        log.replace(layout.log)
    if kept.exists():
        kept.replace(layout.documents)
        kept.unlink(missing_ok=True)  # where both names are of one file, a rename does nothing
    sync_directory(layout.collection)
    mark.unlink()


def _examined(layout: Layout, work: Path, embed: Embed | None, progress: Progress) -> Findings:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    copy = work / layout.documents.name
    shutil.copyfile(layout.documents, copy)
    if layout.log.exists():
        shutil.copyfile(layout.log, copy.with_name(layout.log.name))
    return examine(layout, copy, embed, progress)


def _told(findings: Findings, wrong: set[str], layout: Layout, stamp: str) -> list[str]:
    told = list(findings.told)
    if "manifest" in wrong or not layout.exists():
        told.append("the manifest is written again")
    if "write-ahead log" in wrong:
        told.append("what followed the damaged frame of the write-ahead log is lost; the log is kept beside the index")
    if findings.lost:
        told.append(f"{len(findings.lost)} documents leave the index and are saved in {_lost_path(layout, stamp)}:")
        told += [f"  {found.doc_id!r} (row {found.row}): {found.doubts}" for found in findings.lost]
    if findings.changed:
        told.append(
            f"the documents file is made anew of {len(findings.kept)} documents; the damaged one is kept as "
            f"{_kept_path(layout, stamp).name}"
        )
    derived = {"shortlist snapshot": "the graph", "calibration": "the calibration"}
    told += [f"{words} is dropped, and made again" for name, words in derived.items() if name in wrong]
    if "snapshots" in wrong:
        told.append("damaged snapshots are renamed, so that nobody restores them")
    told += [f"the {name} is given up" for name in ("rotation", "query map") if name in wrong]
    return told


def _act(layout: Layout, findings: Findings, wrong: set[str], stamp: str, work: Path) -> None:
    created = created_of(layout.manifest, layout.documents)
    if findings.lost:
        lines = (json.dumps(_saved(layout, findings, found), ensure_ascii=False) for found in findings.lost)
        write_durably(_lost_path(layout, stamp), "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    _write_vectors(layout, findings)
    if "calibration" in wrong:
        layout.calibration.unlink(missing_ok=True)
    if "shortlist snapshot" in wrong or findings.embedded:
        findings.state = replace(findings.state, snapshot=None)
        findings.changed = True
    if findings.changed:
        made = _made(findings, work / "made.sqlite")
        _exchange(layout, made, _kept_path(layout, stamp))
    if "snapshots" in wrong:
        for path in damaged_snapshots(layout):
            path.rename(path.with_name(f"{path.name}.damaged-{stamp}"))
    leftovers.remove(layout.collection.glob("words-*"))  # derived, and of rows that may be numbered again
    write_manifest(layout.manifest, created)
    sync_directory(layout.root)
    _mark(layout).unlink(missing_ok=True)


def _write_vectors(layout: Layout, findings: Findings) -> None:
    paths = layout.vector_files(findings.state.generation)
    with closing(VectorFile(*paths, findings.codec, create=True)) as file:
        file.reserve(findings.state.rows)
        for row, raw in findings.vectors.items():
            file.write(row, np.frombuffer(raw, dtype=np.uint8)[None])
    if paths[1].stat().st_size < (size := findings.state.rows * CHECKSUM_BYTES):
        os.truncate(paths[1], size)


def _made(findings: Findings, path: Path) -> Path:
    """A documents file of all that stays, closed and synced."""
    state = replace(findings.state, commits=findings.state.commits + 1, pending=None)
    with closing(Documents(path, state, readers=0)) as documents:
        with documents.transaction() as db:
            for row, found in sorted(findings.kept.items()):
                _insert(db, row, found)
        documents.checkpoint()  # closing would not tell of a full disk
    return path


def _insert(db: Connection, row: int, found: Found) -> None:
    title, text, metadata, content_hash, document_hash = found.fields
    texts = None if title is None else title.decode(), text.decode(), metadata.decode()
    db.execute(INSERT, (row, found.doc_id, *texts, content_hash, document_hash))
    index_metadata(db, [(row, entries_of(texts[2]))])


def _exchange(layout: Layout, made: Path, kept: Path) -> None:
    write_durably(_mark(layout), kept.name.encode())
    os.link(layout.documents, kept)  # not every disk can
    layout.manifest.unlink(missing_ok=True)
    sync_directory(layout.root)
    if (log := layout.log).exists():
        log.replace(kept.with_name(f"{kept.name}-wal"))
    layout.log_index.unlink(missing_ok=True)
    sync_directory(layout.collection)
    made.replace(layout.documents)
    sync_directory(layout.collection)


def _saved(layout: Layout, findings: Findings, found: Found) -> dict[str, Any]:
    """A document as `funnel ingest` takes it, with whatever can be read of it."""
    title, text, metadata, *_ = (None if part is None else part.decode("utf-8", "replace") for part in found.fields)
    saved: dict[str, Any] = {"id": found.doc_id, "title": title, "text": text, "metadata": metadata}
    try:
        saved["metadata"] = json.loads(metadata or "{}")
    except ValueError:
        saved["metadata"] = {"unreadable": metadata}
    if (vector := _own_vector(layout, findings, found)) is not None:
        saved["vector"] = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return {name: value for name, value in saved.items() if value is not None}


def _own_vector(layout: Layout, findings: Findings, found: Found) -> np.ndarray | None:
    """The vector that the user gave, if it is whole; one of a model's is made again with the text."""
    if is_embedded(found.fields[3] or b""):  # without a hash it is kept
        return None
    paths = layout.vector_files(findings.state.generation)
    with closing(VectorFile(*paths, findings.codec, create=True)) as file:
        if file.capacity <= found.row or file.damaged(found.row, found.row + 1):
            return None
        decoded: np.ndarray = findings.codec.decode(file.matrix(found.row + 1)[found.row :])[0]
        return decoded


def _stamp(layout: Layout) -> str:
    """The time, in names that no earlier repair has given."""
    now = time.strftime("%Y%m%d-%H%M%S")
    stamps = (f"{now}-{number}" if number > 1 else now for number in count(1))
    taken = (_lost_path, _kept_path)
    return next(stamp for stamp in stamps if not any(os.path.lexists(path(layout, stamp)) for path in taken))


def _lost_path(layout: Layout, stamp: str) -> Path:
    return layout.root / f"lost-{stamp}.jsonl"


def _mark(layout: Layout) -> Path:
    """Names the damaged file while the two change places."""
    return layout.collection / "repairing"


def _kept_path(layout: Layout, stamp: str) -> Path:
    return layout.documents.with_name(f"{layout.documents.name}.damaged-{stamp}")

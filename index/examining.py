"""What a damaged directory still holds: documents and vectors that can stay, and those that are lost."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from index.codec import Codec, make_codec
from index.connections import connect
from index.document import is_embedded, joined
from index.errors import StoreCorrupt
from index.layout import Layout
from index.matryoshka import check_vector, normalise
from index.mending import has_norm, mended_row
from index.progress import Progress
from index.reindex import Embed
from index.salvage import Found, readable_documents, readable_state
from index.seal import row_sums
from index.space import Space
from index.tables import State
from index.vectors import CHECKSUM_BYTES, row_checksum

BATCH = 256  # texts embedded at a time


@dataclass
class Findings:
    """What is left: documents that stay and that do not, and the vectors that have to be written, by row.

    `changed` says that documents or state are not as they are in the file; `told` has a sentence for each kind.
    """

    state: State
    changed: bool
    kept: dict[int, Found] = field(default_factory=dict)
    lost: list[Found] = field(default_factory=list)
    vectors: dict[int, bytes] = field(default_factory=dict)
    embedded: int = 0
    told: list[str] = field(default_factory=list)

    @property
    def codec(self) -> Codec:
        """Of the stored rows."""
        return make_codec(self.state.storage, Space.from_json(self.state.space).dim)

    def lose(self, row: int, why: str) -> None:
        """A document cannot stay."""
        found = self.kept.pop(row)
        found.doubts = why
        self.lost.append(found)


def examine(layout: Layout, copy: Path, embed: Embed | None, progress: Progress) -> Findings:
    """Read everything; `copy` is a copy of the documents file with its log. `progress` gets (rows done, rows).

    Raises StoreCorrupt when the state is lost.
    """
    db = connect(copy, "rw")
    db.text_factory = bytes
    try:
        state, whole = readable_state(db)
        findings = Findings(state, changed=not whole)
        try:
            _ = findings.codec
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt(f"the state of the index cannot be used: {error}; restore a snapshot") from None
        for found in readable_documents(db, state.rows):
            _sort(findings, found)
        _count(findings, row_sums(db))
    finally:
        db.close()
    _check_vectors(layout, findings, embed, progress)
    return findings


def _sort(findings: Findings, found: Found) -> None:
    if found.doubts is not None:
        findings.lost.append(found)
        return
    findings.kept[found.row] = found
    if found.mended:
        findings.changed = True
        findings.told.append(f"document {found.doc_id!r}: one flipped bit was set back; its hashes agree again")


def _count(findings: Findings, sums: tuple[int, int] | None) -> None:
    seen: dict[str, int] = {}
    for row, found in list(findings.kept.items()):
        if (earlier := seen.get(found.doc_id)) is not None:
            findings.lose(earlier, f"the same id is in row {row} too, which is newer")
        seen[found.doc_id] = row
    if sums is not None and not isinstance(sums[0], int):  # damaged, too
        sums, findings.changed = None, True
    missing = 0 if sums is None else sums[0] - len(findings.kept) - len(findings.lost)
    if missing > 0:
        findings.told.append(f"{missing} documents have left neither id nor text")
    findings.changed = findings.changed or bool(findings.lost) or missing != 0


def _check_vectors(layout: Layout, findings: Findings, embed: Embed | None, progress: Progress) -> None:
    codec, unsure, again = findings.codec, 0, []
    for row, raw, checksum in _rows(layout, findings.state, codec, list(findings.kept)):
        progress(row, findings.state.rows)
        if row_checksum(raw, row) == checksum:
            continue
        if checksum in (None, 0) and has_norm(raw, codec):
            unsure += 1
            findings.vectors[row] = raw
        elif (mended := mended_row(raw, checksum or 0, row, codec)) is not None:
            findings.vectors[row] = mended
            findings.told.append(f"row {row}: one flipped bit was set back; checksum and norm agree again")
        elif embed is not None and is_embedded(findings.kept[row].fields[3]):
            again.append(row)
        else:
            findings.lose(row, "its vector is damaged")
            findings.changed = True
    if unsure:
        findings.told.append(
            f"{unsure} checksums of vectors are gone: these have norm 1 and get new ones; a flipped low bit in them "
            "would not be seen"
        )
    for start in range(0, len(again), BATCH):
        _embed(findings, again[start : start + BATCH], embed)


def _embed(findings: Findings, rows: list[int], embed: Embed | None) -> None:
    assert embed is not None
    texts = []
    for row in rows:
        title, text, *_ = findings.kept[row].fields
        texts.append(joined(None if title is None else title.decode(), text.decode()))
    dim = findings.codec.dim
    vectors = normalise(np.stack([check_vector(vector, dim) for vector in embed(texts)]))
    for row, raw in zip(rows, findings.codec.encode(vectors), strict=True):
        findings.vectors[row] = raw.tobytes()
    findings.embedded += len(rows)
    findings.told.append(f"{len(rows)} vectors were damaged: their texts are embedded again")


def _rows(layout: Layout, state: State, codec: Codec, rows: list[int]) -> Iterator[tuple[int, bytes, int | None]]:
    """(row, bytes, checksum) of these rows; zeros and None where the files end before them, or are not there."""
    size, paths = codec.row_bytes, layout.vector_files(state.generation)
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) if path.exists() else None for path in paths]
        for row in rows:
            raw, sums = (
                b"" if file is None else os.pread(file.fileno(), length, row * length)
                for file, length in zip(files, (size, CHECKSUM_BYTES), strict=True)
            )
            yield row, raw.ljust(size, b"\0"), int.from_bytes(sums, "little") if len(sums) == CHECKSUM_BYTES else None

"""Checks of what stands beside documents and vectors: manifest, calibration, snapshots, files that nobody names."""

import hashlib
import json
from pathlib import Path

from index.archive import SUMS, chunks_of, next_header, parsed_sums
from index.calibrations import Calibrations
from index.check import Check
from index.errors import FunnelError, StoreCorrupt, StoreFormat
from index.layout import Layout
from index.matrices import parts
from index.tables import State


def check_manifest(layout: Layout) -> Check:
    """Whether the manifest says what it was written to say."""
    try:
        layout.check_format()
    except StoreFormat as error:
        return Check("manifest", False, str(error), "`funnel repair` writes it again; nothing is lost but its date")
    return Check("manifest", True, f"format {json.loads(layout.manifest.read_text())['version']}")


def check_calibration(layout: Layout) -> Check:
    """Whether the calibration can be read; it is derived."""
    if not layout.calibration.exists():
        return Check("calibration", True, "none")
    kept = Calibrations(layout).kept
    if kept is None:
        return Check("calibration", False, "it does not match its checksum", "derived: `funnel recall` makes it again")
    return Check("calibration", True, f"{kept.calibration_id} of {kept.queries} queries")


def check_snapshots(layout: Layout) -> Check:
    """Whether every snapshot matches the checksums at its end."""
    wrong = [f"{path.name}: {why}" for path, why in damaged_snapshots(layout).items()]
    number = len(list(layout.snapshots.glob("*.tar")))
    advice = "what these snapshots held is lost: delete them, and make another one of the index"
    return Check("snapshots", not wrong, "; ".join(wrong) if wrong else f"{number} agree with their sums", advice)


def damaged_snapshots(layout: Layout) -> dict[Path, str]:
    """Snapshots that cannot be restored, and why."""
    wrong = {}
    for path in sorted(layout.snapshots.glob("*.tar")):
        try:
            check_snapshot(path)
        except (OSError, FunnelError) as error:
            wrong[path] = str(error)
    return wrong


def check_snapshot(path: Path) -> None:
    """Raise StoreCorrupt or StoreFormat unless every member of a snapshot matches its SHA-256, and none is missing."""
    actual: dict[str, str] = {}
    with path.open("rb") as file:
        while (found := next_header(file)) is not None:
            chunks = chunks_of(file, *found)
            if found[0] == SUMS:
                if parsed_sums(b"".join(chunks)) != actual:
                    raise StoreCorrupt(f"a member of {path} does not match its checksum")
                return
            digest = hashlib.sha256()
            for chunk in chunks:
                digest.update(chunk)
            actual[found[0]] = digest.hexdigest()
    raise StoreCorrupt(f"{path} has no {SUMS}")


def check_strays(layout: Layout, state: State) -> Check:
    """Files that nothing names: left-overs, which the next start removes, or somebody else's."""
    ours = layout.documents, layout.log, layout.log_index, layout.calibration
    named = named_files(layout, state) | {path.name for path in ours}
    strays = sorted(path.name for path in layout.collection.iterdir() if path.name not in named)
    strays += sorted(path.name for path in layout.snapshots.glob("*") if path.suffix != ".tar")
    return Check("other files", True, f"nothing names {', '.join(strays)}" if strays else "none")


def named_files(layout: Layout, state: State) -> set[str]:
    """Names of the files that the state names; StoreCorrupt when a record in it cannot be read."""
    generations = [state.generation] if state.pending is None else [state.generation, state.generation + 1]
    named = {path.name for generation in generations for path in layout.vector_files(generation)}
    named |= {f"{layout.words(state.generation).name}{end}" for end in ("", "-wal", "-shm")}
    try:
        if state.snapshot is not None:
            named.add(json.loads(state.snapshot)["file"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"the record of the shortlist's snapshot cannot be read: {error!r}") from None
    return named | {part["file"] for part in parts(state.rotation) if part}

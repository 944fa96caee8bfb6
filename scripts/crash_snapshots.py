"""Snapshots after a kill: those that were acknowledged are there, and hold what was stored when they were made."""

import random
import shutil
from pathlib import Path

import httpx
from crash_clients import checked
from crash_known import DIM, Known, Lost, State, state_of, unit, vector_of

from index.document import StoredDocument
from index.restoring import restore
from index.store import Store

SCORE = 1e-4  # a cosine of rounded numbers
OFTEN = 0.3  # of the restarts try one of the snapshots


def check_snapshots(client: httpx.Client, known: Known, data: Path, scratch: Path, rng: random.Random) -> int:
    """Compare the list with what is known, settle it, and restore one now and then; how many were restored."""
    records = checked(client.get("/snapshots")).json()["snapshots"]
    listed = {record["name"] for record in records}
    if broken := [record for record in records if "error" in record]:
        raise Lost(f"snapshots that cannot be read: {broken}")
    missing, more = known.snapshots.keys() - listed, listed - known.snapshots.keys()
    if missing and not known.purging:
        raise Lost(f"acknowledged snapshots are gone: {missing}")
    if len(more) > (known.unanswered is not None):
        raise Lost(f"snapshots that nobody asked for, or that were deleted: {more}")
    known.snapshots = {name: allowed for name, allowed in known.snapshots.items() if name in listed}
    known.snapshots |= {name: known.unanswered for name in more if known.unanswered is not None}
    known.unanswered, known.purging, known.purged = None, False, set()
    if not listed or rng.random() > OFTEN:
        return 0
    check_restored(data, rng.choice(sorted(listed)), known, scratch / "restored")
    return 1


def check_restored(data: Path, name: str, known: Known, target: Path) -> None:
    """A snapshot restores, which verifies it, and holds each document as it may have been then."""
    shutil.rmtree(target, ignore_errors=True)
    with (data / "snapshots" / f"{name}.tar").open("rb") as file:
        restore(file, target)
    found: dict[str, State] = {}
    with Store.open(target, None) as store:
        while documents := store.scroll(500, max(found, default=None), with_vector=True)[0]:
            found |= {document.doc_id: _state(document) for document in documents}
    for doc_id, allowed in known.snapshots[name].items():
        if found.get(doc_id) not in allowed:
            raise Lost(f"snapshot {name} holds {doc_id} as {found.get(doc_id)}, it may be {sorted(allowed, key=str)}")
    if strange := found.keys() - known.snapshots[name].keys():
        raise Lost(f"snapshot {name} holds documents that were not there: {sorted(strange)[:5]}")


def _state(document: StoredDocument) -> State:
    """The state of a restored document, whose vector is that of its version."""
    state = state_of({"id": document.doc_id, "text": document.text, "metadata": document.metadata})
    assert document.vector is not None
    sent = unit(vector_of(document.doc_id, state[0]))
    if len(document.vector) == DIM and abs(document.vector @ sent - 1) > SCORE:  # not what a model made
        raise Lost(f"{document.doc_id} was restored with another vector")
    return state

"""Snapshots after a kill: those that were acknowledged are there, and hold what was stored when they were made."""

import random
import shutil
from pathlib import Path

import httpx
import numpy as np
from crash_clients import checked
from crash_known import DIM, Known, Lost, State, state_of, unit, vector_of

from index.document import StoredDocument
from index.restoring import restore
from index.store import Store

OFTEN = 0.3  # of the restarts try one of the snapshots


def check_snapshots(client: httpx.Client, known: Known, data: Path, scratch: Path, rng: random.Random) -> int:
    """Compare the list with what is known, settle it, and restore one now and then; how many were restored."""
    answer = client.get("/snapshots")
    if answer.status_code == 404:
        return 0
    listed = {record["name"] for record in checked(answer).json()["snapshots"]}
    if missing := known.snapshots.keys() - listed:
        raise Lost(f"acknowledged snapshots are gone: {missing}")
    more = listed - known.snapshots.keys()
    if len(more) > (known.unanswered is not None):
        raise Lost(f"snapshots that nobody asked for: {more}")
    for name in more:
        assert known.unanswered is not None
        known.snapshots[name] = known.unanswered
    known.unanswered = None
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
    if (
        len(document.vector) == DIM
        and np.abs(document.vector - unit(vector_of(document.doc_id, state[0]))).max() > 1e-4
    ):
        raise Lost(f"{document.doc_id} was restored with another vector")
    return state

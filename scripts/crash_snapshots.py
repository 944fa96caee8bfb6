"""Snapshots after a kill: those that were acknowledged are there, and hold what was stored when they were made."""

import random
import shutil
from pathlib import Path

import httpx
from crash_clients import checked
from crash_known import Known, Lost, State, state_of

from index.verify import verify

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
    """A snapshot restores to a directory that is sound, and holds each document as it may have been then."""
    from index.restoring import restore
    from index.store import Store

    shutil.rmtree(target, ignore_errors=True)
    restore(data / "snapshots" / f"{name}.tar", target)
    report = verify(target)
    if not report.ok:
        raise Lost(f"snapshot {name}: " + "; ".join(check.detail for check in report.checks if not check.ok))
    with Store.open(target, None) as store:
        found: dict[str, State] = {}
        after = None
        while documents := store.scroll(500, after)[0]:
            for document in documents:
                record = {"id": document.doc_id, "text": document.text, "metadata": document.metadata}
                found[document.doc_id] = state_of(record)
            after = documents[-1].doc_id
    for doc_id, allowed in known.snapshots[name].items():
        if found.get(doc_id) not in allowed:
            raise Lost(f"snapshot {name} holds {doc_id} as {found.get(doc_id)}, it may be {sorted(allowed, key=str)}")
    if strange := found.keys() - known.snapshots[name].keys():
        raise Lost(f"snapshot {name} holds documents that were not there: {sorted(strange)[:5]}")

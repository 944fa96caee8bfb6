"""Opens a store after an accident and compares everything in it with what was promised."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from store_promises import Lost, Possible, check
from store_workload import GRAPH, SPACES, embed, text_of

from index.document import Document, StoredDocument
from index.query import Query
from index.restoring import restore
from index.store import Store
from index.verify import verify

CLOSE = {"float32": 1e-6, "bfloat16": 5e-3}  # of a stored vector's numbers to those that were sent
NEW = "written after the accident"


def check_store(path: Path, possible: Possible) -> None:
    """Raises Lost when anything differs, and whatever the store raises when it cannot be opened."""
    if None not in possible.get("space", [None]):
        _verified(path)  # as a person would look first
    stored = Store.stored_space(path) if (path / "manifest.json").exists() else None
    tag = "one" if stored is None else str(stored.fingerprint["model"])
    if stored is not None:
        check(possible, "space", tag)
    with Store.open(path, SPACES[tag], GRAPH) as store:
        _documents(store, possible, tag)
        _extras(store, possible)
        _snapshots(store, possible)
        _prefixes(store)
        _writable(store, tag)
    _erased(path, possible)
    _verified(path)


def _erased(path: Path, possible: Possible) -> None:
    """What was dead before the last compaction that was acknowledged is in no file but snapshots."""
    promised = possible.get("erased", [None])
    if None in promised:
        return
    held = b"".join(file.read_bytes() for file in (path / "collections").rglob("*") if file.is_file())
    for doc_id, version in promised[0]:
        if text_of(doc_id, version).encode() in held:
            raise Lost(f"version {version} of {doc_id} was erased and is still in a file")


def _verified(path: Path) -> None:
    report = verify(path)
    if not report.ok:
        raise Lost("; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.ok))


def _documents(store: Store, possible: Possible, tag: str) -> None:
    """Every document has one state that it may have, its text, and its vector; no other is there."""
    page, _ = store.scroll(10_000, with_vector=True)
    found = {f"doc:{document.doc_id}": _state(document) for document in page}
    for key in found.keys() | {key for key in possible if key.startswith("doc:")}:
        check(possible, key, found.get(key))
    if not len(page) == store.count() == store.stats()["count"]:
        raise Lost(f"{len(page)} documents are listed, {store.count()} are counted")
    if not page:
        return
    expected = embed([document.text for document in page], tag)
    actual = np.stack([np.asarray(document.vector) for document in page])
    worst = np.abs(actual - expected).max(axis=1)
    if worst.max() > CLOSE[store.view.codec.name]:
        raise Lost(f"{page[int(worst.argmax())].doc_id} has the vector of another text")
    for document, vector in list(zip(page, expected, strict=True))[:3]:
        hit = store.search(_unmapped(store, vector), Query(limit=1, exact=True))[0].hits[0]
        if hit.doc_id != document.doc_id or hit.score < 0.999:
            raise Lost(f"{document.doc_id} is not found by its vector: {hit.doc_id} {hit.score}")


def _state(document: StoredDocument) -> list[int]:
    version, revision = document.metadata["version"], document.metadata["revision"]
    if document.text != text_of(document.doc_id, version):
        raise Lost(f"{document.doc_id} has the text of another version than its metadata")
    return [version, revision]


def _extras(store: Store, possible: Possible) -> None:
    """Rotation, query map and calibration in force."""
    check(possible, "rotation", store.rotation and store.rotation.method)
    check(possible, "query map", store.query_map and int(store.query_map.measured["seed"]))
    calibration: dict[str, Any] | None = store.stats()["calibration"]
    check(possible, "calibration", calibration and calibration["id"])


def _snapshots(store: Store, possible: Possible) -> None:
    """Those that were acknowledged are there as they were; each that is there can be restored, and is whole."""
    found = {f"snapshot:{record['name']}": record for record in store.snapshots.list()}
    for key in found.keys() | {key for key in possible if key.startswith("snapshot:")}:
        check(possible, key, found[key].get("sha256", found[key]) if key in found else None)
    for record in found.values():
        target = store.layout.root.with_name(f"{store.layout.root.name}-restored")
        with store.snapshots.path(record["name"]).open("rb") as file:
            restore(file, target)  # compares checksums and verifies
        shutil.rmtree(target)
    if left := [path.name for path in store.layout.snapshots.iterdir() if path.suffix != ".tar"]:
        raise Lost(f"an interrupted snapshot left {left}")


def _prefixes(store: Store) -> None:
    """Law 5."""
    view = store.view
    expected = view.prefixes(view.codec.decode(view.matrix))
    live = store.scroll(10_000)[0]
    rows = np.array([document.row for document in live], dtype=np.int64)
    if not np.array_equal(view.shortlist.prefixes(np.arange(view.rows))[rows], expected[rows]):
        raise Lost("prefixes differ from those of the stored vectors")


def _unmapped(store: Store, vector: np.ndarray) -> np.ndarray:
    """The query that the query map in force, an orthogonal matrix, turns into this vector."""
    return vector if store.query_map is None else store.query_map.matrix @ vector


def _writable(store: Store, tag: str) -> None:
    """The next write goes through, and is found."""
    (vector,) = embed([NEW], tag)
    store.write([Document("new", NEW)], {0: vector})
    hit = store.search(_unmapped(store, vector), Query(limit=1))[0].hits[0]
    if hit.doc_id != "new" or store.delete(["new"]) != 1:
        raise Lost(f"what was written after the accident is not found: {hit.doc_id}")

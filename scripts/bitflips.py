"""A directory with everything in it, ways to damage a file of it, and what it answers before and after."""

import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index import merger
from index.calibrating import Asked
from index.document import Document, StoredDocument
from index.errors import FunnelError
from index.options import StoreOptions
from index.query import Answer, Query
from index.rotation import QueryMap, Rotation
from index.space import Space
from index.store import Store

SPACE = Space(32, 8, {"model": "bitflips"})
OPTIONS = StoreOptions(shortlist_index="hnsw")
COUNT, QUERIES, LIMIT = 300, 6, 10
FILTERS: list[dict[str, Any]] = [{"kind": "b"}, {"n": {"$gte": 100, "$lt": 200}}, {"kind": {"$ne": "a"}, "tags": "t3"}]
PAGE = 4_096


def rows(count: int, seed: int) -> np.ndarray:
    """(count, 32) float32 unit rows."""
    found = np.random.default_rng(seed).standard_normal((count, SPACE.dim)) * np.where(np.arange(32) < 8, 1, 0.5)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def orthogonal(seed: int) -> np.ndarray:
    """An orthogonal (32, 32) float32 matrix."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((32, 32)))[0].astype(np.float32)


def document(i: int, version: int = 0) -> Document:
    """Number i, with a text of its own length."""
    metadata = {"n": i, "kind": "ab"[i % 2], "tags": [f"t{i % 5}", f"t{i % 7}"], "deep": {"x": None}}
    text = f"version {version} of number {i}. " * (1 + i % 9)
    return Document(f"doc-{i:04}", text, f"Title {i}" if i % 3 else None, metadata)


def build(path: Path) -> None:
    """Graph, matrices, calibration, replaced, repainted and deleted documents; a copy as a kill leaves it beside."""
    merger.MIN_MERGE = 100  # else a graph would need a thousand rows
    with Store.open(path, SPACE, OPTIONS) as store:
        vectors = rows(COUNT, 0)
        store.write([document(i) for i in range(COUNT)], dict(enumerate(vectors)))
        store.rotate(Rotation(orthogonal(1), (8, 32), "pca", {"note": "bitflips"}))
        store.set_query_map(QueryMap(orthogonal(2), {"note": "bitflips"}))
        store.calibrate(Asked(rows(200, 3), "test", False))
    with Store.open(path, SPACE, OPTIONS) as store:  # what comes now is in SQLite's log only
        for start in range(0, 60, 10):
            changed = dict(enumerate(rows(10, 10 + start)))
            store.write([document(i, 1) for i in range(start, start + 10)], changed)
        store.delete([f"doc-{i:04}" for i in range(200, 215)])
        for i in range(100, 105):
            store.update_metadata(f"doc-{i:04}", lambda found: {**found.metadata, "kind": "b"})
        store.snapshots.make(name="kept")
        store.write([document(COUNT)], {0: rows(1, 99)[0]})
        shutil.copytree(path, path.with_name(f"{path.name}-killed"))


@dataclass(frozen=True)
class Damage:
    """What is done to one file."""

    file: str
    kind: str
    place: int

    def apply(self, root: Path) -> None:
        """Do it."""
        path = root / self.file
        data = bytearray(path.read_bytes())
        page = self.place // 8 // PAGE * PAGE
        if self.kind == "flip":
            data[self.place // 8] ^= 1 << self.place % 8
        elif self.kind == "cut":
            del data[self.place // 8 :]
        elif self.kind == "zeros":
            data[page : page + PAGE] = bytes(len(data[page : page + PAGE]))
        else:
            other = (page + PAGE * 3) % max(PAGE, len(data) // PAGE * PAGE)
            data[page : page + PAGE], data[other : other + PAGE] = data[other : other + PAGE], data[page : page + PAGE]
        path.write_bytes(data)


def choose(root: Path, random: random.Random, only: str | None = None) -> Damage:
    """A file of any kind, or of this one, and a place in it; flips more often than the rest."""
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.stat().st_size)
    files = [name for name in files if not name.endswith(("LOCK", "-shm"))]
    kinds: dict[str, list[str]] = {}
    for name in files:
        kinds.setdefault(kind_of(name), []).append(name)
    name = random.choice(kinds[only or random.choice([*sorted(kinds), "documents"])])
    size = (root / name).stat().st_size
    if kind_of(name) == "log":  # one that is cut, or whose header is zeros, is what a power loss leaves
        way = random.choice(["flip"] * 7 + ["zeros"])
        return Damage(name, way, random.randrange(PAGE * 8 if way == "zeros" else 0, size * 8))
    return Damage(name, random.choice(["flip"] * 7 + ["zeros", "swap", "cut"]), random.randrange(size * 8))


def kind_of(name: str) -> str:
    """Which kind of file it is."""
    last = Path(name).name
    if last.endswith("-wal"):
        return "log"
    if last.startswith("vectors"):
        return "vectors" if last.endswith(".bin") else "checksums"
    for kind in ("documents", "shortlist", "rotation", "query-map", "calibration", "manifest"):
        if last.startswith(kind):
            return "graph" if kind == "shortlist" else kind
    return "snapshot"


@dataclass(frozen=True)
class Truth:
    """What the undamaged directory says: documents by id, scores by query and id, ids that pass each filter."""

    documents: dict[str, Any]
    scores: list[dict[str, float]]
    passing: list[set[str]]

    @classmethod
    def of(cls, root: Path) -> "Truth":
        """Of an undamaged directory."""
        with Store.open(root, SPACE, OPTIONS) as store:
            documents = {one.doc_id: told(one) for one in store.scroll(COUNT + 1, with_vector=True)[0]}
            every = store.search(rows(QUERIES, 7), Query(limit=COUNT + 1, exact=True))
            passing = [{one.doc_id for one in store.scroll(COUNT + 1, filter=filter)[0]} for filter in FILTERS]
        return cls(documents, [{hit.doc_id: hit.score for hit in one.hits} for one in every], passing)

    def without(self, ids: Iterable[str]) -> "Truth":
        """The same less these documents."""
        gone = set(ids)
        documents = {doc_id: one for doc_id, one in self.documents.items() if doc_id not in gone}
        scores = [{doc_id: score for doc_id, score in one.items() if doc_id not in gone} for one in self.scores]
        return Truth(documents, scores, [passing - gone for passing in self.passing])

    def hits(self, query: int, found: Answer, among: set[str], exact: bool) -> str:
        """right, missed or wrong: of one answer that may find these documents."""
        scores = self.scores[query]
        for hit in found.hits:
            if hit.doc_id not in among or (hit.text, hit.title, hit.metadata) != self.documents[hit.doc_id][:3]:
                return "wrong"
            if abs(hit.score - scores[hit.doc_id]) > 2e-6:
                return "wrong"
        best = sorted((scores[doc_id] for doc_id in among), reverse=True)[:LIMIT]
        if [hit.score for hit in found.hits] != sorted((hit.score for hit in found.hits), reverse=True):
            return "wrong"
        pairs = zip(found.hits, best, strict=False)
        same = len(found.hits) == len(best) and all(abs(hit.score - score) <= 2e-6 for hit, score in pairs)
        return "right" if same or not exact else "missed"

    def page(self, found: list[StoredDocument], among: set[str]) -> str:
        """The same of documents that were read."""
        for one in found:
            compared = 3 if one.vector is None else 4
            if one.doc_id not in among or told(one)[:compared] != self.documents[one.doc_id][:compared]:
                return "wrong"
        return "right" if len(found) == len(among) else "missed"


def told(one: StoredDocument) -> tuple[Any, ...]:
    """What is compared of a document."""
    return one.text, one.title, one.metadata, None if one.vector is None else one.vector.tobytes()


def calls(store: Store, truth: Truth) -> Iterator[Callable[[], str]]:
    """Everything that is asked; each says right, missed, wrong or miscounted. One alone may be refused."""
    queries, every = rows(QUERIES, 7), set(truth.documents)
    ids = [f"doc-{i:04}" for i in range(COUNT + 1)]

    def search(among: set[str], exact: bool, **options: Any) -> Callable[[], str]:
        def call(query: int) -> str:
            (found,) = store.search(queries[query], Query(limit=LIMIT, exact=exact, **options))
            return truth.hits(query, found, among, exact)

        return lambda: worst(call(query) for query in range(QUERIES))

    yield search(every, exact=True)
    yield search(every, exact=False, shortlist=60)
    yield search(every, exact=False, target_recall=0.95)
    yield lambda: truth.page(store.scroll(COUNT + 1)[0], every)
    yield lambda: truth.page(store.get(ids), every)
    for doc_id in ids[::7]:
        yield lambda doc_id=doc_id: truth.page(store.get([doc_id], with_vector=True), every & {doc_id})
    for filter, passing in zip(FILTERS, truth.passing, strict=True):
        yield search(passing, exact=True, filter=filter)
        yield search(passing, exact=False, shortlist=60, filter=filter)
        yield lambda filter=filter, passing=passing: truth.page(store.scroll(COUNT, filter=filter)[0], passing)
        yield lambda filter=filter, passing=passing: "right" if store.count(filter) == len(passing) else "miscounted"


ORDER = ["right", "refused at read", "miscounted", "missed", "wrong"]


def worst(said: Iterable[str]) -> str:
    """Of several outcomes."""
    return max(said, key=ORDER.index, default="right")


def outcome(root: Path, truth: Truth) -> str:
    """What a damaged directory does: "refused at open", or the worst of what is asked; other errors go through."""
    merger.MIN_MERGE = 100
    try:
        store = Store.open(root, SPACE, OPTIONS)
    except FunnelError:
        return "refused at open"
    with store:
        return worst(_refused(call) for call in calls(store, truth))


def _refused(call: Callable[[], str]) -> str:
    try:
        return call()
    except FunnelError:
        return "refused at read"

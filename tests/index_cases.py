"""Vectors, documents and brute-force answers for the tests of the index."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from index.batch import Batch
from index.document import Document
from index.jobs import Job
from index.options import StoreOptions
from index.space import Space
from index.store import Store

SPACE = Space(32, 8, {"model": "test"})
FLAT = StoreOptions(shortlist_index="flat")
GRAPH = StoreOptions(shortlist_index="hnsw")
PACKED = StoreOptions(shortlist_index="packed")


def unit_vectors(count: int, dim: int = 32, seed: int = 0) -> np.ndarray:
    """(count, dim) float32 unit rows whose front carries most, as after Matryoshka training."""
    weights = np.where(np.arange(dim) < dim // 4, 1.0, 0.5)
    rows = np.random.default_rng(seed).standard_normal((count, dim)) * weights
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_rotation(dim: int = 32, seed: int = 0) -> np.ndarray:
    """An orthogonal (dim, dim) float32 matrix."""
    square = np.random.default_rng(seed).standard_normal((dim, dim))
    return np.linalg.qr(square)[0].astype(np.float32)


def principal(vectors: np.ndarray) -> np.ndarray:
    """The (dim, dim) float32 principal axes of (n, dim) vectors, the strongest first."""
    return np.linalg.eigh(vectors.astype(np.float64).T @ vectors)[1][:, ::-1].astype(np.float32)


def documents(ids: Sequence[str], metadata: Callable[[int], Mapping[str, Any]] = lambda i: {}) -> list[Document]:
    """A document for each id, its text made of the id."""
    return [Document(doc_id, f"text of {doc_id}", metadata=metadata(i)) for i, doc_id in enumerate(ids)]


def numbered(count: int, start: int = 0) -> list[str]:
    """Ids d00000, d00001, ..."""
    return [f"d{i:05}" for i in range(start, start + count)]


def fill(
    store: Store, vectors: np.ndarray, metadata: Callable[[int], Mapping[str, Any]] = lambda i: {}, start: int = 0
) -> list[str]:
    """Store one document for each vector; returns their ids."""
    ids = numbered(len(vectors), start)
    store.write(documents(ids, metadata), dict(enumerate(vectors)))
    return ids


def opened(path: Path, options: StoreOptions = FLAT, space: Space = SPACE) -> Store:
    """A store in `path`."""
    return Store.open(path, space, options)


def scored(vectors: Mapping[str, np.ndarray], query: np.ndarray) -> dict[str, float]:
    """Cosines by id, in float64."""
    unit = query / np.linalg.norm(query)
    if not vectors:
        return {}
    scores = np.stack(list(vectors.values())).astype(np.float64) @ unit
    return dict(zip(vectors, scores.tolist(), strict=True))


def best_ids(vectors: Mapping[str, np.ndarray], query: np.ndarray, limit: int) -> list[str]:
    """The ids of the highest cosines, best first, ties by id."""
    scores = scored(vectors, query)
    return sorted(scores, key=lambda doc_id: (-scores[doc_id], doc_id))[:limit]


def assert_exact(
    hits: Sequence[Any], vectors: Mapping[str, np.ndarray], query: np.ndarray, limit: int, tolerance: float = 2e-6
) -> None:
    """The hits are the best of `vectors`: right scores, in order, nothing better left out; ties in any order."""
    truth = scored(vectors, query)
    assert len(hits) == min(limit, len(truth))
    assert len({hit.doc_id for hit in hits}) == len(hits)
    best = sorted(truth.values(), reverse=True)
    for hit, score in zip(hits, best, strict=False):
        assert abs(hit.score - truth[hit.doc_id]) <= tolerance
        assert abs(hit.score - score) <= tolerance


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a background thread; however busy the machine is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def together(store: Store, calls: Sequence[Callable[[], Any]]) -> list["Future[Any]"]:
    """Run calls in threads while the writer is held up, so that they wait together and share one commit."""
    started, go = threading.Event(), threading.Event()

    def hold(_: Batch) -> None:
        started.set()
        assert go.wait(60)

    with ThreadPoolExecutor(len(calls) + 1) as pool:
        held = pool.submit(store._writer.submit, Job(hold))
        assert started.wait(60)
        futures = []
        for waiting, call in enumerate(calls, 1):
            futures.append(pool.submit(call))
            while store._writer._jobs.qsize() < waiting:
                threading.Event().wait(0.001)
        go.set()
        held.result(60)
    return futures

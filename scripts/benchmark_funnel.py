"""This project's own store as a library: shortlists of given length, target recalls, and its default."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import PREFIX, Setting, System, shortlists

LOAD = 4_096  # documents written at a time
TARGETS = (0.9, 0.95, 0.98, 0.99)


class Funnel(System):
    """A store in a directory, made and opened as the service does it; further `options` are those of StoreOptions."""

    packages = ("faiss-cpu", "numpy")

    def __init__(self, prefix_dim: int = PREFIX, **options: Any) -> None:
        self._prefix_dim, self._options = prefix_dim, options

    def load(self) -> None:
        global Asked, Document, Query, Space, Store, StoreOptions
        from index.calibrating import Asked
        from index.document import Document
        from index.options import StoreOptions
        from index.query import Query
        from index.space import Space
        from index.store import Store

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Write durably, wait for what is merged, save it."""
        space = Space(vectors.shape[1], min(self._prefix_dim, vectors.shape[1]), {"model": "none"})
        with Store.open(folder, space, StoreOptions(**self._options)) as store:
            for start in range(0, len(vectors), LOAD):
                part = vectors[start : start + LOAD]
                documents = [Document(str(start + place), "-") for place in range(len(part))]
                store.write(documents, dict(enumerate(part)))
            settle(store)

    def tune(self, calibration: np.ndarray, folder: Path) -> None:
        """Calibrate."""
        with Store.open(folder, None, StoreOptions(**self._options)) as store:
            store.calibrate(Asked(calibration, "file", True))

    def open(self, folder: Path) -> None:
        self._store = Store.open(folder, None, StoreOptions(**self._options))

    def settings(self, k: int) -> list[Setting]:
        lengths = [{"shortlist": length} for length in shortlists(k)]
        return [*lengths, *({"target_recall": target} for target in TARGETS), {}]

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        query = Query(limit=k, with_text=False, with_metadata=False, **setting)
        search = self._store.search
        return lambda vector: search(vector, query)

    def rows(self, found: Any) -> Any:
        return (int(hit.doc_id) for hit in found[0].hits)

    def stages(self, found: Any) -> dict[str, float]:
        return dict(found[0].timing_ms)

    def close(self) -> None:
        if hasattr(self, "_store"):
            self._store.close()


def settle(store: Any) -> None:
    """Wait until no merge is running or due."""
    quiet = 0
    while quiet < 3:
        quiet = 0 if store.stats()["shortlist"]["merging"] else quiet + 1
        time.sleep(0.1)

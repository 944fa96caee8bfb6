"""ScaNN: anisotropic codes in a tree and a reordering by full vectors, on all dimensions or on the first 64."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import PREFIX, Setting, System, shortlists

SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # of the leaves that are searched
THRESHOLD = 0.2  # of the anisotropic codes, as in its documentation


class Scann(System):
    """score_ah and reorder; with `truncate` the codes are those of the first 64 numbers (not of norm 1 again)."""

    packages = ("scann",)

    def __init__(self, truncate: bool = False) -> None:
        self._truncate = truncate

    def load(self) -> None:
        global builder, load_searcher
        from scann.scann_ops.py.scann_ops_pybind import builder, load_searcher

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Train, and write its folder."""
        leaves = max(16, round(len(vectors) ** 0.5))
        plan = builder(vectors, 10, "dot_product").set_n_training_threads(threads)
        if self._truncate:
            plan = plan.truncate(PREFIX)
        plan = plan.tree(num_leaves=leaves, num_leaves_to_search=leaves // 10, training_sample_size=len(vectors))
        searcher = plan.score_ah(2, anisotropic_quantization_threshold=THRESHOLD).reorder(100).build()
        searcher.serialize(str(folder.resolve()))
        (folder / "leaves").write_text(str(leaves))

    def open(self, folder: Path) -> None:
        self._leaves = int((folder / "leaves").read_text())
        self._searcher = load_searcher(str(folder.resolve()))

    def settings(self, k: int) -> list[Setting]:
        return [{"leaves": share, "shortlist": length} for share in SHARES for length in shortlists(k, 1_600)]

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        leaves = max(1, round(setting["leaves"] * self._leaves))
        search, length = self._searcher.search, setting["shortlist"]
        return lambda query: search(query, k, length, leaves)

    def rows(self, found: Any) -> Any:
        return found[0].tolist()

"""FAISS: exact, HNSW at full width, its own funnel (a 64-dimension index under a refining one), inverted lists."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import PREFIX, Setting, System, depths, shortlists

CONSTRUCTION = 200


class Faiss(System):
    """An index of FAISS in one file, read into memory, or `mapped`."""

    packages = ("faiss-cpu",)
    mapped = False

    def load(self) -> None:
        global faiss
        import faiss

    def make(self, dim: int, rows: int) -> Any:
        """The empty index."""
        raise NotImplementedError

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Train, add, write."""
        faiss.omp_set_num_threads(threads)
        index = self.make(vectors.shape[1], len(vectors))
        if not index.is_trained:
            index.train(vectors)
        index.add(vectors)
        faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder: Path) -> None:
        faiss.omp_set_num_threads(1)
        flags = faiss.IO_FLAG_MMAP_IFC if self.mapped else 0
        self._index = faiss.read_index(str(folder / "index.faiss"), flags)

    def parameters(self, k: int, setting: Setting) -> Any:
        """What FAISS wants to know of a setting, for each search."""
        return None

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        index, parameters = self._index, self.parameters(k, setting)
        return lambda query: index.search(query, k, params=parameters)

    def prepare(self, query: np.ndarray) -> np.ndarray:
        return query[None]

    def rows(self, found: Any) -> Any:
        return (row for row in found[1][0].tolist() if row >= 0)


class Exact(Faiss):
    """All inner products; with `panorama` a bound on those of the first dimensions ends most of them early."""

    def __init__(self, panorama: bool = False) -> None:
        self._panorama = panorama

    def make(self, dim: int, rows: int) -> Any:
        return faiss.IndexFlatIPPanorama(dim, dim // PREFIX, 512) if self._panorama else faiss.IndexFlatIP(dim)

    def settings(self, k: int) -> list[Setting]:
        return [{}]


class Graph(Faiss):
    """HNSW at full width by its factory name; `euclidean` for those that know no inner product (same order)."""

    def __init__(self, recipe: str, euclidean: bool = False) -> None:
        self._recipe, self._euclidean = recipe, euclidean

    def make(self, dim: int, rows: int) -> Any:
        recipe = self._recipe.replace("Panorama", f"Panorama{dim // PREFIX}")
        index = faiss.index_factory(dim, recipe, faiss.METRIC_L2 if self._euclidean else faiss.METRIC_INNER_PRODUCT)
        graph = faiss.downcast_index(index.base_index) if "RFlat" in recipe else index
        graph.hnsw.efConstruction = CONSTRUCTION
        return index

    def settings(self, k: int) -> list[Setting]:
        if "RFlat" not in self._recipe:
            return [{"ef": ef} for ef in depths(k)]
        return [{"shortlist": length, "ef": ef} for length in shortlists(k, 400) for ef in depths(length)[::2][:4]]

    def parameters(self, k: int, setting: Setting) -> Any:
        graph = faiss.SearchParametersHNSW(efSearch=setting["ef"])
        if "shortlist" not in setting:
            return graph
        return faiss.IndexRefineSearchParameters(k_factor=setting["shortlist"] / k, base_index_params=graph)


class Funnel(Faiss):
    """IndexRefine over the first 64 numbers, of norm 1 again: HNSW with `links`, a scan without; one call a search."""

    def __init__(self, links: int = 0, panorama: bool = False, mapped: bool = False) -> None:
        self._links, self._panorama, self.mapped = links, panorama, mapped

    def make(self, dim: int, rows: int) -> Any:
        recipe = f"HNSW{self._links},Flat" if self._links else "Flat"
        base = faiss.index_factory(PREFIX, recipe, faiss.METRIC_INNER_PRODUCT)
        if self._links:
            base.hnsw.efConstruction = CONSTRUCTION
        cut = faiss.RemapDimensionsTransform(dim, PREFIX, False)
        chain = faiss.IndexPreTransform(faiss.NormalizationTransform(PREFIX, 2.0), base)
        chain.prepend_transform(cut)
        full = faiss.IndexFlatIPPanorama(dim, dim // PREFIX, 1) if self._panorama else faiss.IndexFlatIP(dim)
        refine = (faiss.IndexRefinePanorama if self._panorama else faiss.IndexRefine)(chain, full)
        self._kept = (base, cut, chain, full)  # FAISS holds pointers to them
        return refine

    def settings(self, k: int) -> list[Setting]:
        if not self._links:
            return [{"shortlist": length} for length in shortlists(k)]
        return [{"shortlist": length, "ef": ef} for length in shortlists(k, 1_600) for ef in (length, 2 * length)]

    def parameters(self, k: int, setting: Setting) -> Any:
        graph = faiss.SearchParametersHNSW(efSearch=setting["ef"]) if self._links else None
        inner = faiss.SearchParametersPreTransform(index_params=graph) if graph else None
        return faiss.IndexRefineSearchParameters(k_factor=setting["shortlist"] / k, base_index_params=inner)


class Inverted(Faiss):
    """Inverted lists of 4-bit product codes or RaBitQ, scanned in registers; with `refine` the best by full vectors."""

    def __init__(self, codes: str, refine: bool = False) -> None:
        self._codes, self._refine = codes, refine

    def make(self, dim: int, rows: int) -> Any:
        codes = f"PQ{dim // 4}x4fs" if self._codes.startswith("PQ") else self._codes
        self._lists = 2 ** round(math.log2(4 * math.sqrt(rows)))
        recipe = f"IVF{self._lists},{codes}" + (",RFlat" if self._refine else "")
        return faiss.index_factory(dim, recipe, faiss.METRIC_INNER_PRODUCT)

    def settings(self, k: int) -> list[Setting]:
        probes = (2, 4, 8, 16, 32, 64, 128)
        if not self._refine:
            return [{"probes": probe} for probe in probes]
        return [{"probes": probe, "shortlist": length} for probe in probes for length in shortlists(k, 800)]

    def parameters(self, k: int, setting: Setting) -> Any:
        inner = faiss.SearchParametersIVF(nprobe=setting["probes"])
        if not self._refine:
            return inner
        return faiss.IndexRefineSearchParameters(k_factor=setting["shortlist"] / k, base_index_params=inner)

"""Collections of the benchmark: float32 unit vectors in files, queries that belong to them, and the exact answers.

bundled    the texts of --data through the bundled model, 768 dimensions (up to 370,000 rows)
debian     the same, Debian's package descriptions alone, asked with their synopses (up to 63,435 rows)
minilm     the texts of --data through raw all-MiniLM-L6-v2, 384 dimensions, rotated to its documents' principal axes
mixture    synthetic: perturbed mixtures of pairs of the bundled vectors, for speed and memory, not for recall
clusters   synthetic: noise around centres, with a falling spectrum; needs no data at all
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

CACHE = Path(".cache/benchmark")
NAMES = ("bundled", "debian", "minilm", "mixture", "clusters")
MOST = 100  # exact answers that are kept of each query
TIE = 1e-6  # scores this near are equal
BLOCK = 8_192
AXES = 50_000  # documents that the principal axes are learned from


@dataclass(frozen=True)
class Shape:
    """How much of a collection: rows, queries that are asked, queries that calibrations and trainings may see."""

    name: str
    rows: int
    queries: int
    calibration: int


class Collection:
    """Files in a folder of their own; `scores` are the best MOST exact ones of every query, descending."""

    def __init__(self, shape: Shape, data: Path | None) -> None:
        """Take the files that are there, or make them; `data` is the folder of texts."""
        self.shape = shape
        self.folder = CACHE / "-".join(map(str, asdict(shape).values()))
        files = [self.folder / f"{name}.npy" for name in ("vectors", "queries", "calibration", "scores")]
        self.vectors, self.queries, self.calibration, scores = files
        if not scores.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            for path, array in zip(files, _made(shape, data, self.vectors), strict=False):
                if not isinstance(array, np.memmap):  # else it is that file
                    np.save(path, array)
            np.save(
                scores,
                exact_scores(
                    np.load(self.vectors, mmap_mode="r", allow_pickle=False), np.load(self.queries, allow_pickle=False)
                ),
            )
        self.scores: np.ndarray = np.load(scores, allow_pickle=False)
        self.matrix = np.asarray(np.load(self.vectors, mmap_mode="r", allow_pickle=False))
        self._asked = np.load(self.queries, allow_pickle=False)

    def recalls(self, rows: np.ndarray, first: int, k: int) -> np.ndarray:
        """(q,) recall@k of (q, k) row numbers found for the queries from number `first` on; -1 is no answer.

        A row counts when its exact score is at least the k-th best, less TIE; a row that is named twice counts once.
        """
        places = np.arange(first, first + len(rows)) % len(self._asked)
        if len(rows) and (rows.max() >= len(self.matrix) or rows.min() < -1):
            raise ValueError(f"rows are below {len(self.matrix)}, got {rows.min()} to {rows.max()}")
        least = self.scores[places, min(k, len(self.matrix)) - 1] - TIE
        hits = np.zeros(len(rows))
        for number, place in enumerate(places):
            mine = np.unique(rows[number][rows[number] >= 0])
            hits[number] = np.sum(self.matrix[mine] @ self._asked[place] >= least[number])
        return np.minimum(hits, k) / min(k, len(self.matrix))

    def describe(self) -> dict[str, Any]:
        """What the results say of it."""
        sample = self.matrix[:BLOCK]
        energy = float(np.mean(np.sum(sample[:, :64] ** 2, axis=1)))
        return {**asdict(self.shape), "dim": self.matrix.shape[1], "prefix_energy": round(energy, 4)}


def exact_scores(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(q, min(MOST, n)) best inner products of every query, descending."""
    most = min(MOST, len(vectors))
    best = np.full((len(queries), most), -np.inf, dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        scores = np.concatenate([best, queries @ np.asarray(vectors[start : start + BLOCK]).T], axis=1)
        best = -np.partition(-scores, most - 1, axis=1)[:, :most]
    return -np.sort(-best, axis=1)


def _made(shape: Shape, data: Path | None, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Documents, queries, calibration queries; documents that may be more than the memory are written to `path`."""
    if shape.name == "clusters":
        documents, asked = clusters(shape.rows, shape.queries + shape.calibration)
    else:
        documents, asked = _real(shape, data, path)
    if len(documents) < shape.rows or len(asked) < shape.queries + shape.calibration:
        raise ValueError(
            f"{shape.name} has {len(documents):,} rows and {len(asked):,} queries; asked for {shape.rows:,} rows and "
            f"{shape.queries + shape.calibration:,} queries"
        )
    return documents, asked[: shape.queries], asked[shape.queries : shape.queries + shape.calibration]


def clusters(rows: int, queries: int, dim: int = 256, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around rows // 20 centres, queries around the same ones; the first dimensions are the strongest."""
    rng = np.random.default_rng(seed)
    strength = np.linspace(2, 0.2, dim)
    centres = rng.standard_normal((max(1, rows // 20), dim)) * strength
    number = rows + queries
    made = centres[rng.integers(0, len(centres), number)] + 0.7 * rng.standard_normal((number, dim)) * strength
    unit = units(made)
    return unit[:rows], unit[rows:]


def units(vectors: np.ndarray) -> np.ndarray:
    """float32 of norm 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _real(shape: Shape, data: Path | None, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Embedded texts, drawn at random; from .cache/vectors when they were embedded before."""
    from recall_collections import load_case  # late: brings the model

    if data is None:
        raise ValueError(f"{shape.name} needs --data, the folder of texts")
    model = "minilm" if shape.name == "minilm" else "bundled"
    case = load_case(data, "debian-packages" if shape.name == "debian" else "all", model, None, None)
    rng = np.random.default_rng(0)
    if shape.name == "mixture":
        size = (shape.rows, case.documents.shape[1])
        made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=size)
        mix(case.documents, made, rng)
        return made, units(case.queries)
    rows = np.sort(rng.permutation(len(case.documents))[: shape.rows])
    documents = units(case.documents[rows])
    if shape.name == "minilm":
        axes = principal_axes(documents[:AXES])
        return units(documents @ axes), units(case.queries @ axes)
    return documents, units(case.queries)


def mix(real: np.ndarray, made: np.ndarray, rng: np.random.Generator) -> None:
    """Fill `made`: each row a random point between two real vectors, perturbed by a tenth of its length, of norm 1."""
    for start in range(0, len(made), BLOCK):
        size = min(BLOCK, len(made) - start)
        one, other = (real[np.sort(rng.integers(0, len(real), size))] for _ in range(2))
        other = other[rng.permutation(size)]
        share = rng.random((size, 1), dtype=np.float32)
        noise = rng.standard_normal((size, real.shape[1]), dtype=np.float32) * (0.1 / real.shape[1] ** 0.5)
        made[start : start + size] = units(share * one + (1 - share) * other + noise)


def principal_axes(vectors: np.ndarray) -> np.ndarray:
    """(dim, dim) float32: the orthogonal matrix whose first columns carry the most of the vectors' squared lengths."""
    moments = vectors.astype(np.float64).T @ vectors
    return np.linalg.eigh(moments)[1][:, ::-1].astype(np.float32)

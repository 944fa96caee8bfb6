"""A synthetic collection whose prefixes say something but not all, its queries, and views without a store.

Documents lie around topics; a query is a document's topic with noise of its own, and how much differs from query to
query, so that there is something to adapt to. None of it tells what real embeddings would give.
"""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np

from index import bits
from index.allowed import Allowed
from index.calibrating import Asked
from index.calibration import Curve, Estimator, Rule
from index.codec import make_codec
from index.graph import Graph
from index.matryoshka import prefixes
from index.options import StoreOptions
from index.rotation import Rotation
from index.shortlist import Shortlist
from index.space import Space
from index.stopping import MissModel
from index.store import Store
from index.vectors import row_checksums
from index.view import View
from index_cases import FLAT, SPACE, fill, opened

DIM, TOPICS = 32, 40
FRONT = np.where(np.arange(DIM) < DIM // 4, 1.0, 0.5)  # as after Matryoshka training: the front carries most


def collection(documents: int, queries: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(documents, 32) and (queries, 32) float32 unit rows."""
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((TOPICS, DIM))
    rows = topics[rng.integers(TOPICS, size=documents)] + 0.8 * rng.standard_normal((documents, DIM))
    noise = rng.uniform(0.2, 1.2, size=(queries, 1))
    asked = topics[rng.integers(TOPICS, size=queries)] + noise * rng.standard_normal((queries, DIM))
    return unit(rows * FRONT), unit(asked * FRONT)


def unit(rows: np.ndarray) -> np.ndarray:
    """Float32 rows of norm 1."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def asked_of(queries: np.ndarray, own_rows: np.ndarray | None = None) -> Asked:
    """Queries as a calibration takes them."""
    return Asked(queries, "a file", True, own_rows)


def filled(path: Path, documents: np.ndarray, options: StoreOptions = FLAT) -> Store:
    """An open store of these documents; each has its number as `n` and is one of the `third` or not."""
    store = opened(path, options)
    fill(store, documents, lambda i: {"n": i, "third": i % 3 == 0})
    return store


def view_of(
    vectors: np.ndarray,
    storage: str = "float32",
    in_graph: int = 0,
    codes: str = "float32",
    rotation: np.ndarray | None = None,
    space: Space = SPACE,
) -> View:
    """A view of (n, dim) unit rows as a store has it, all of them live, the first `in_graph` in an HNSW graph."""
    faiss.omp_set_num_threads(1)  # as in every thread that searches
    codec = make_codec(storage, space.dim)
    matrix = codec.encode(vectors)
    made = prefixes(codec.decode(matrix), space.prefix_dim, rotation)
    shortlist = Shortlist.empty(space.prefix_dim).appended(made)
    if in_graph:
        graph = Graph.empty(made, codes).extended(made[:in_graph])
        assert graph is not None
        shortlist = shortlist.with_older(graph)
    live = bits.pack(np.ones(len(vectors), dtype=bool))
    turned = None if rotation is None else Rotation(rotation, (space.prefix_dim,), "test")
    sums = row_checksums(matrix, 0)
    return View(space, codec, 1, 1, len(vectors), len(vectors), 0, live, matrix, sums, shortlist, turned)


def allowed_of(mask: np.ndarray) -> Allowed:
    """A (rows,) bool mask as a search takes it."""
    return Allowed(bits.pack(mask), int(mask.sum()), len(mask))


def rule_of(rate: float, most: int = 10_000, bias: float = -1.0) -> Rule:
    """A rule by a model that says the same of every descent, exp(bias): it stops after exp(bias - rate) rows."""
    nothing = np.zeros(14)
    told = Estimator(np.array([0.0, -3.0]), np.array([0.5, 0.9]), np.array([0.3, 0.8]))
    curve = Curve(100, np.array([rate]), np.array([1]), np.array([0.9]), np.array([0.1]), np.array([50.0]), told, told)
    return Rule(MissModel(nothing, np.ones(14), nothing, bias), curve, rate, most, 1.0, "test")


def found_share(found: Sequence[str], truth: Sequence[str]) -> float:
    """recall@k of one answer."""
    return len(set(found) & set(truth)) / max(len(truth), 1)

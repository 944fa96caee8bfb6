#!/usr/bin/env python3
"""What `funnel adapt` brings on a real collection: shortlists before, with PCA and after; time, memory, tail bounds.

Documents and titles of DATA/COLLECTION are embedded (once: vectors are cached under .cache/vectors), stored in a real
index on disk, and adapted by the command's own code. Titles are held-out queries: they are neither learned from nor
stored. Models: `bundled`, and `minilm`, all-MiniLM-L6-v2 as it is: 384 numbers, no trained prefix.

    ./scripts/evaluate_adapt.py --data DATA --out docs/results/adapt.json
    ./scripts/evaluate_adapt.py --data DATA --models minilm --documents 3000 --queries 200      a smoke test
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import cached, console, store_results
from rich.table import Table

from app.adapting import Candidate, Comparison, Material, compare, split
from app.collections import Collection, known_items
from app.rotating import RotationSettings, default_widths
from app.shortlists import energy, nearest, places
from app.subject import load_minilm, load_subject
from index.document import Document
from index.evaluation import recall_at_k
from index.matryoshka import turned
from index.query import Query
from index.rotation import Rotation
from index.space import Space
from index.store import Store, StoreOptions

PREFIX = 64
BOUND_WIDTHS = (64, 128, 256)
LOAD = 4_096  # documents written at a time
CHECKED = 200  # queries whose exact results and scores are compared before and after


@dataclass(frozen=True)
class Subject:
    """A model's vectors of a collection, and the space they live in."""

    name: str
    space: Space
    documents: np.ndarray  # (n, dim) float32 unit rows
    titles: np.ndarray  # (q, dim)


def load(model: str, collection: Collection) -> Subject:
    """The vectors of a model, embedded now or cached."""
    loaded, exact_only = MODELS[model]()
    documents = cached(loaded.key, f"{collection.name}-documents", collection.documents, loaded.documents)
    titles = cached(loaded.key, f"{collection.name}-queries", collection.queries, loaded.queries)
    space = replace(loaded.space, prefix_dim=PREFIX, exact_only=exact_only)
    return Subject(model, space, np.asarray(documents), np.asarray(titles))


# How each is loaded, and whether its prefix was never trained.
MODELS = {"bundled": lambda: (load_subject("bundled"), False), "minilm": lambda: (load_minilm(), True)}


def measure(subject: Subject, sample: int, settings: dict[str, Any]) -> dict[str, Any]:
    """One model on one collection: learned on documents, measured on documents and on titles, applied, undone."""
    dim = subject.space.dim
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder) / "data", subject)
        try:
            stored = store.sample(sample, seed=0)
            options = RotationSettings(default_widths(dim, PREFIX), **settings)
            started = time.perf_counter()
            by_documents = compare(split(stored, 0), PREFIX, None, options)
            took = {
                "learning and measuring, s": time.perf_counter() - started,
                "peak memory of the process, MiB": peak(),
            }
            by_titles = again(by_documents, subject)
            return {
                "dim": dim,
                "stored": len(subject.documents),
                "documents": by_documents.report,
                "titles": by_titles.report,
                "bounds": bounds(subject, by_documents),
                "applied": applied(store, by_documents, subject),
                "took": {name: round(value, 1) for name, value in took.items()},
            }
        finally:
            store.close()


def filled(path: Path, subject: Subject) -> Store:
    """A store on disk with all documents."""
    store = Store.open(path, subject.space, StoreOptions(max_limit=1_000))
    for start in range(0, len(subject.documents), LOAD):
        vectors = subject.documents[start : start + LOAD]
        store.write([Document(f"{start + n}", "-") for n in range(len(vectors))], dict(enumerate(vectors)))
    return store


def again(comparison: Comparison, subject: Subject) -> Comparison:
    """The same rotations measured on titles, which search all documents."""
    material = Material(comparison.material.learn, subject.documents, subject.titles, "titles")
    truth = nearest(subject.titles, subject.documents)
    measured = [
        Candidate(
            one.name, one.matrix, places(subject.titles, subject.documents, truth, PREFIX, one.matrix), one.energy
        )
        for one in (comparison.before, *comparison.others)
    ]
    return Comparison(measured[0], tuple(measured[1:]), material, PREFIX)


def bounds(subject: Subject, comparison: Comparison) -> dict[str, dict[str, float]]:
    """Candidate -> width -> share of all rows that the bound proves to be below the tenth best score, over titles.

    Cauchy-Schwarz: q.x <= q[:w].x[:w] + |q[w:]| |x[w:]|, after the rotation.
    """
    queries, documents = subject.titles[:CHECKED], subject.documents
    tenth = -np.partition(-(queries @ documents.T), 9, axis=1)[:, 9:10]
    found: dict[str, dict[str, float]] = {}
    for one in (comparison.before, *comparison.others):
        asked, rows = (turned(block, max(BOUND_WIDTHS), one.matrix) for block in (queries, documents))
        found[one.name] = {str(width): pruned(asked[:, :width], rows[:, :width], tenth) for width in BOUND_WIDTHS}
    return found


def pruned(asked: np.ndarray, rows: np.ndarray, tenth: np.ndarray) -> float:
    """Share of (q, n) pairs whose bound lies below (q, 1) scores, of the first numbers of unit rows."""
    rest = [np.sqrt(np.maximum(0, 1 - np.square(block).sum(axis=1))) for block in (asked, rows)]
    return float((asked @ rows.T + np.outer(*rest) < tenth).mean())


def applied(store: Store, comparison: Comparison, subject: Subject) -> dict[str, Any]:
    """The best rotation applied to the store and undone: seconds, and whether exact answers stayed, to the bit."""
    best, queries = comparison.best, subject.titles[:CHECKED]
    if best.matrix is None:
        raise AssertionError("the best candidate is a rotation")

    def exact() -> list[list[tuple[str, float]]]:
        answers = store.search(queries, Query(limit=10, exact=True, with_text=False, with_metadata=False))
        return [[(hit.doc_id, hit.score) for hit in answer.hits] for answer in answers]

    def timed(rotation: Rotation | None) -> float:
        started = time.perf_counter()
        store.rotate(rotation)
        return round(time.perf_counter() - started, 2)

    before = exact()
    seconds = timed(Rotation(best.matrix, tuple(sorted(best.energy, reverse=True)), best.name))
    same, default = exact() == before, recall(store, queries, before)
    return {
        "method": best.name,
        "apply, s": seconds,
        "exact results and scores identical": same,
        "recall@10 of the default search after": default,
        "undo, s": timed(None),
        "identical after undo": exact() == before,
        "energy of all documents": energy(subject.documents, default_widths(subject.space.dim, PREFIX), best.matrix),
    }


def recall(store: Store, queries: np.ndarray, truth: Sequence[Sequence[tuple[str, float]]]) -> float:
    """recall@10 of the default search."""
    answers = store.search(queries, Query(limit=10, with_text=False, with_metadata=False))
    hits = [
        recall_at_k([hit.doc_id for hit in answer.hits], [name for name, _ in best], 10)
        for answer, best in zip(answers, truth, strict=True)
    ]
    return round(float(np.mean(hits)), 4)


def peak() -> float:
    """MiB that this process has had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(name: str, result: dict[str, Any]) -> None:
    """Shortlists needed, as a table."""
    table = Table("queries", "recall@10", "before", "PCA", "learned", title=name, title_justify="left")
    for kind in ("documents", "titles"):
        for wanted in ("0.95", "0.99"):
            shortlists = [one["shortlist"][wanted] for one in result[kind]["candidates"].values()]
            cells = [f"{one['value']:,.0f} ({one['low']:,.0f}-{one['high']:,.0f})" for one in shortlists]
            table.add_row(kind, wanted, *cells)
    console.print(table)
    console.print(result["bounds"], result["applied"], result["took"])


def main() -> None:
    """Parse arguments, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of collections in BEIR's layout")
    parser.add_argument("--collection", default="debian-packages", help="a folder below --data whose corpus has titles")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--documents", type=int, help="the first so many documents")
    parser.add_argument("--queries", type=int, default=2_000, help="titles, drawn with seed 0")
    parser.add_argument("--sample", type=int, default=50_000, help="documents of the index that are read")
    parser.add_argument("--steps", type=int, default=RotationSettings.steps)
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    collection = known_items(arguments.data / arguments.collection, arguments.queries)
    results: dict[str, Any] = {}
    for model in arguments.models:
        subject = load(model, collection)
        kept = Subject(model, subject.space, subject.documents[: arguments.documents], subject.titles)
        results[model] = measure(kept, arguments.sample, {"steps": arguments.steps})
        show(f"{collection.name}, {model}", results[model])
        store_results(arguments.out, {"collection": collection.name, "models": results})


if __name__ == "__main__":
    main()

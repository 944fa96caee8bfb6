#!/usr/bin/env python3
"""Compare the funnel, BM25 and both together on judged collections: nDCG@10 with intervals, time, bytes."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from harness import cached, console, store_results

from app.bm25 import bm25
from app.cli_options import expected_errors
from app.collections import Collection, read_collection
from app.intervals import means, shares
from app.relevance import CUT, judged
from app.subject import Subject, load_subject
from index.document import Document
from index.errors import WordsBusy
from index.hybrid import Hybrid
from index.query import Answer, Query
from index.store import Store

BATCH = 2_000  # documents written, and texts asked for, at a time
FUNNEL = "funnel"
WEIGHTS = {"BM25 (FTS5)": 1.0, "rrf": None, "weight 0.3": 0.3, "weight 0.5": 0.5, "weight 0.7": 0.7}


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders of collections in BEIR's layout.")],
    out: Annotated[Path | None, typer.Option(help="Store the results as JSON.")] = None,
    queries: Annotated[int | None, typer.Option(min=2, help="At most so many queries of each.")] = None,
) -> None:
    """Compare the funnel, BM25 and both together on judged collections: nDCG@10 with intervals, time, bytes.

    Vectors are those of the model of the settings, kept under .cache/vectors. Shares are of the funnel alone, over the
    same queries. Times are processor time of the searching thread.

    ./scripts/evaluate_hybrid.py DATA/cranfield DATA/squad-dev --queries 1000 --out docs/results/hybrid.json
    """
    subject = load_subject(None)
    results = {}
    for folder in data:
        collection = read_collection(folder).sampled(queries)
        with tempfile.TemporaryDirectory() as path:
            results[collection.name] = _evaluated(subject, collection, Path(path))
        _print(collection.name, results[collection.name])
    store_results(out, {"collections": results})


def _evaluated(subject: Subject, collection: Collection, path: Path) -> dict[str, Any]:
    vectors = cached(subject.key, f"{collection.name}-documents", collection.documents, subject.documents)
    asked = cached(subject.key, f"{collection.name}-queries", collection.queries, subject.queries)
    with Store.open(path, subject.space, subject.options) as store:
        for start, stop in _spans(len(vectors)):
            documents = [Document(str(row), collection.documents[row]) for row in range(start, stop)]
            store.write(documents, dict(enumerate(vectors[start:stop])))
        _wait(store, asked[:1], collection.queries[0])
        found = {FUNNEL: _found(store, asked, collection.queries, Query())}
        for name, weight in WEIGHTS.items():
            found[name] = _found(store, asked, collection.queries, Query(hybrid=Hybrid((), weight)))
    size = store.layout.words(1).stat().st_size  # closed: nothing is left in its log
    began = time.thread_time()
    peers = bm25(collection.documents, collection.queries, CUT)
    took = time.thread_time() - began
    found["BM25 (bm25s)"] = ([[str(row) for row in rows] for rows in peers], np.array([took / len(peers) * 1e3]))
    return {
        "documents": len(vectors),
        "queries": len(asked),
        "words_bytes_per_document": round(size / len(vectors), 1),
        "systems": _scored(collection, found),
    }


def _wait(store: Store, vector: np.ndarray, text: str) -> None:
    """Until the words of all texts are indexed."""
    while True:
        try:
            store.search(vector, Query(hybrid=Hybrid((text,))))
            return
        except WordsBusy as error:
            console.print(str(error), style="dim")


def _found(store: Store, vectors: np.ndarray, texts: Sequence[str], query: Query) -> tuple[list[list[str]], np.ndarray]:
    """The ids found for each query, and milliseconds of processor time."""
    ids, took = [], []
    for vector, text in zip(vectors, texts, strict=True):
        hybrid = query.hybrid and Hybrid((text,), query.hybrid.weight)
        began = time.thread_time()
        (answer,) = store.search(vector, Query(limit=CUT, hybrid=hybrid, with_text=False, with_metadata=False))
        took.append((time.thread_time() - began) * 1e3)
        ids.append(_ids(answer, only_words=hybrid is not None and hybrid.weight == 1.0))
    return ids, np.array(took)


def _ids(answer: Answer, only_words: bool) -> list[str]:
    return [hit.doc_id for hit in answer.hits if not only_words or (hit.places and hit.places.words_rank)]


def _scored(collection: Collection, found: dict[str, tuple[list[list[str]], np.ndarray]]) -> dict[str, Any]:
    relevant = [{str(row): grade for row, grade in grades.items()} for grades in collection.relevant]
    values = {name: judged(ids, relevant)["ndcg@10"] for name, (ids, _) in found.items()}
    names = list(values)
    stacked = np.stack([values[name] for name in names])
    told = zip(names, means(stacked), shares(stacked, values[FUNNEL]), strict=True)
    return {
        name: {
            "ndcg@10": mean.to_json(),
            "share_of_funnel": share.to_json(),
            "cpu_ms_mean": round(float(found[name][1].mean()), 3),
            "cpu_ms_p95": round(float(np.percentile(found[name][1], 95)), 3),
        }
        for name, mean, share in told
    }


def _spans(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + BATCH, count)) for start in range(0, count, BATCH))


def _print(name: str, result: dict[str, Any]) -> None:
    console.print(f"{name}: {result['documents']:,} documents, {result['queries']:,} queries", style="bold")
    for system, one in result["systems"].items():
        value, share = one["ndcg@10"], one["share_of_funnel"]
        console.print(
            f"  {system:14} nDCG@10 {value['value']:.3f} ({value['low']:.3f}..{value['high']:.3f}), "
            f"{share['value']:.1%} of the funnel ({share['low']:.1%}..{share['high']:.1%}), {one['cpu_ms_mean']:.1f} ms"
        )
    console.print(f"  words: {result['words_bytes_per_document']} bytes a document")


if __name__ == "__main__":
    try:
        typer.run(main)
    except expected_errors() as error:
        raise SystemExit(f"error: {error}") from None

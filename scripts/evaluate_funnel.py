#!/usr/bin/env python3
"""Relevance and recall of the funnel on real collections: prefix alone, funnel by shortlist, exact, and baselines.

Reads collections in BEIR's layout (corpus.jsonl.gz, queries.jsonl.gz, qrels.tsv); a corpus without judgements
whose documents have titles is searched for its titles (known-item: index `text`, query `title`). Every row is
the answer of a real store opened on disk; BM25 is bm25s, MiniLM the bundled model's body with its own 384
dimensions. Vectors are cached under .cache/vectors, keyed by fingerprint and texts.

    ./scripts/evaluate_funnel.py --data DIR squad-dev cranfield debian-packages --out docs/results/funnel.json
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import cached, console, lines, store_results
from rich.table import Table

from app.embedder import Embedder, load_embedder
from app.settings import Settings
from index.document import Document
from index.evaluation import mrr_at_k, ndcg_at_k, recall_at_k
from index.plan import default_shortlist
from index.query import Query
from index.store import Store, StoreOptions

SHORTLISTS = (50, 100, 200, 400, 800)
K = 10
LOAD = 4_096  # documents written at a time
Ranked = list[list[str]]


@dataclass(frozen=True)
class Collection:
    """Texts to index, queries, and the grades of each query's relevant documents."""

    name: str
    task: str
    documents: dict[str, str]
    queries: dict[str, str]
    judged: dict[str, dict[str, float]]


def read_collection(directory: Path, limit_queries: int | None) -> Collection:
    """A collection in BEIR's layout; queries without a relevant document are left out."""
    corpus = list(lines(directory / "corpus.jsonl.gz"))
    if not (directory / "qrels.tsv").exists():
        documents = {row["_id"]: row["text"] for row in corpus if row["text"].strip()}
        queries = {row["_id"]: row["title"] for row in corpus if row["_id"] in documents and row["title"].strip()}
        judged = {doc_id: {doc_id: 1.0} for doc_id in queries}
        return _sampled(
            Collection(directory.name, "known item: title -> text", documents, queries, judged), limit_queries
        )
    joined = {row["_id"]: f"{row.get('title') or ''}\n{row['text']}".strip() for row in corpus}
    documents = {doc_id: text for doc_id, text in joined.items() if text}
    judged = {}
    with (directory / "qrels.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if float(row["score"]) > 0 and row["corpus-id"] in documents:
                judged.setdefault(row["query-id"], {})[row["corpus-id"]] = float(row["score"])
    queries = {row["_id"]: row["text"] for row in lines(directory / "queries.jsonl.gz") if row["_id"] in judged}
    return _sampled(Collection(directory.name, "judged", documents, queries, judged), limit_queries)


def _sampled(collection: Collection, limit: int | None) -> Collection:
    names = list(collection.queries)
    if limit is not None and len(names) > limit:
        chosen = np.random.default_rng(0).permutation(len(names))[:limit]
        names = [names[i] for i in sorted(chosen)]
    queries = {name: collection.queries[name] for name in names}
    judged = {name: collection.judged[name] for name in names}
    return Collection(collection.name, collection.task, collection.documents, queries, judged)


@contextmanager
def loaded_store(
    embedder: Embedder, names: Sequence[str], texts: Sequence[str], vectors: np.ndarray
) -> Iterator[Store]:
    """A store on disk that holds the documents."""
    with tempfile.TemporaryDirectory() as directory:
        store = Store.open(Path(directory) / "data", embedder.space, StoreOptions(max_limit=1_000))
        for start in range(0, len(names), LOAD):
            stop = min(start + LOAD, len(names))
            documents = [Document(names[i], texts[i]) for i in range(start, stop)]
            store.write(documents, dict(enumerate(vectors[start:stop])))
        while store.stats()["shortlist"]["merging"]:
            time.sleep(0.1)
        try:
            yield store
        finally:
            store.close()


def run(store: Store, queries: np.ndarray, query: Query) -> Ranked:
    """Ids of the hits of every query vector."""
    blocks = (queries[start : start + 64] for start in range(0, len(queries), 64))
    return [
        [hit.doc_id for hit in answer.hits] for block in blocks for answer in store.search(np.asarray(block), query)
    ]


def measure(collection: Collection, embedder: Embedder, baselines: bool) -> dict[str, Any]:
    """Every row of one collection's table."""
    names, texts = list(collection.documents), list(collection.documents.values())
    asked = list(collection.queries.values())
    key = embedder.space.fingerprint_id
    vectors = cached(key, f"{collection.name}-documents", texts, lambda t: embedder.embed_documents(t).vectors)
    queries = cached(key, f"{collection.name}-queries", asked, embedder.embed_queries)
    dim, prefix = embedder.space.dim, embedder.space.prefix_dim
    lean = {"limit": K, "with_text": False, "with_metadata": False}
    with loaded_store(embedder, names, texts, vectors) as store:
        exact = run(store, queries, Query(exact=True, **lean))
        rows = {f"prefix {prefix} alone": run(store, queries, Query(rescore=False, **lean))}
        for shortlist in SHORTLISTS:
            rows[f"funnel {shortlist}"] = run(store, queries, Query(shortlist=shortlist, **lean))
        default = default_shortlist(K, len(names))
        rows[f"funnel default ({default})"] = run(store, queries, Query(**lean))
    rows[f"exact {dim}"] = exact
    if baselines:
        rows["MiniLM 384, exact"] = minilm(names, texts, asked, collection.name)
        rows["BM25"] = bm25(names, texts, asked)
    return {
        "task": collection.task,
        "documents": len(names),
        "queries": len(asked),
        "rows": {name: scores(found, exact, collection) for name, found in rows.items()},
    }


def scores(found: Ranked, exact: Ranked, collection: Collection) -> dict[str, float]:
    """Means over queries: nDCG@10, MRR@10 and recall@10 against exact search."""
    grades: list[Mapping[Any, float]] = [collection.judged[name] for name in collection.queries]
    return {
        "ndcg@10": float(np.mean([ndcg_at_k(f, g, K) for f, g in zip(found, grades, strict=True)])),
        "mrr@10": float(np.mean([mrr_at_k(f, g, K) for f, g in zip(found, grades, strict=True)])),
        "recall@10": float(np.mean([recall_at_k(f, e, K) for f, e in zip(found, exact, strict=True)])),
    }


def minilm(names: list[str], texts: list[str], asked: list[str], name: str) -> Ranked:
    """all-MiniLM-L6-v2 as it is: 384 dimensions, exact search."""
    from sentence_transformers import SentenceTransformer

    from app.compose import body_folder  # late: brings torch

    model = SentenceTransformer(str(body_folder()), device="cpu", local_files_only=True)
    embed = lambda t: model.encode(list(t), normalize_embeddings=True, show_progress_bar=False)  # noqa: E731
    documents = cached("minilm-384", f"{name}-documents", texts, embed)
    queries = cached("minilm-384", f"{name}-queries", asked, embed)
    found: Ranked = []
    for start in range(0, len(queries), 256):
        similar = queries[start : start + 256] @ documents.T
        top = np.argpartition(-similar, min(K, len(names) - 1), axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(similar, top, axis=1), axis=1)
        found += [[names[i] for i in row] for row in np.take_along_axis(top, order, axis=1)]
    return found


def bm25(names: list[str], texts: list[str], asked: list[str]) -> Ranked:
    """BM25 with bm25s' defaults and English stop words."""
    import bm25s

    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    tokens = bm25s.tokenize(asked, stopwords="en", show_progress=False)
    hits, _ = retriever.retrieve(tokens, k=min(K, len(names)), show_progress=False)
    return [[names[i] for i in row] for row in hits]


def show(name: str, result: dict[str, Any]) -> None:
    """One collection as a table on the terminal."""
    title = f"{name}: {result['documents']:,} documents, {result['queries']:,} queries ({result['task']})"
    table = Table("", "nDCG@10", "MRR@10", "recall@10 vs exact", title=title, title_justify="left")
    for row, measured in result["rows"].items():
        table.add_row(row, *(f"{measured[column]:.4f}" for column in ("ndcg@10", "mrr@10", "recall@10")))
    console.print(table)


def main() -> None:
    """Parse arguments, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", help="folders below --data")
    parser.add_argument("--data", type=Path, required=True, help="folder of collections in BEIR's layout")
    parser.add_argument("--queries", type=int, help="at most this many queries a collection, drawn with seed 0")
    parser.add_argument("--no-baselines", action="store_true", help="leave out MiniLM and BM25")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    embedder = load_embedder(Settings())
    if embedder is None:
        parser.error("FUNNEL_MODEL=none has nothing to embed with")
    results = {}
    for name in arguments.collections:
        collection = read_collection(arguments.data / name, arguments.queries)
        results[name] = measure(collection, embedder, not arguments.no_baselines)
        show(name, results[name])
    model = {"model": embedder.model_name, "fingerprint": embedder.space.fingerprint_id}
    store_results(arguments.out, {**model, "collections": results})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Search latency by stage and collection size: a real server over HTTP, vector-in and text-in, on real texts.

Takes the shortest distinct texts below --data (corpora and training pairs), as many as the largest size, embeds
them once with the configured model into .cache/vectors (hours on a laptop), fills a directory for each size, starts the
server on it and asks the queries one after the other over one connection. Recall@10 is against exact search in the
same store.

    ./scripts/benchmark_latency.py --data DIR --sizes 10000 63436 370000 --out docs/results/latency.json
    ./scripts/benchmark_latency.py --data DIR --sizes 500 --queries 50     # smoke
"""

import argparse
import base64
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_funnel import settle
from harness import Server, cached, console, lines, store_results
from rich.table import Table

from app.embedder import Embedder, load_embedder
from app.settings import Settings, store_options
from index.document import Document
from index.evaluation import recall_at_k
from index.query import Query
from index.store import Store

LOAD = 4_096  # documents written at a time
RECALL_QUERIES = 200
STAGES = ("embed", "shortlist", "rerank", "documents", "total", "http")


def read_texts(data: Path) -> tuple[list[str], list[str]]:
    """Distinct document texts and query texts of every collection and pairs file, shuffled with seed 0."""
    documents: dict[str, None] = {}
    queries: dict[str, None] = {}
    for path in sorted(data.glob("*/corpus.jsonl.gz")):
        titled = not (path.parent / "qrels.tsv").exists()  # known-item: the title is the query
        for row in lines(path):
            title = row.get("title") or ""
            documents[row["text"].strip() if titled else f"{title}\n{row['text']}".strip()] = None
            if titled:
                queries[title.strip()] = None
    for path in sorted(data.glob("*/queries.jsonl.gz")):
        queries.update((row["text"].strip(), None) for row in lines(path))
    for path in sorted(data.glob("*/pairs.jsonl.gz")):
        for row in lines(path):
            documents.update((row[name].strip(), None) for name in ("positive", "negative") if row.get(name))
            queries[row["anchor"].strip()] = None
    return _shuffled(documents), _shuffled(queries)


def shortest(texts: list[str], size: int) -> list[str]:
    """The `size` shortest texts, in their order: what a laptop can embed in an hour."""
    chosen = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))[:size]
    return [texts[i] for i in sorted(chosen)]


def _shuffled(texts: dict[str, None]) -> list[str]:
    listed = [text for text in texts if text]
    return [listed[i] for i in np.random.default_rng(0).permutation(len(listed))]


def fill(path: Path, embedder: Embedder, texts: Sequence[str], vectors: np.ndarray) -> float:
    """Write a directory; returns the seconds until the shortlist was merged."""
    started = time.monotonic()
    with Store.open(path, embedder.space, store_options(Settings())) as store:
        for start in range(0, len(texts), LOAD):
            stop = min(start + LOAD, len(texts))
            documents = [Document(f"d{i}", texts[i]) for i in range(start, stop)]
            store.write(documents, dict(enumerate(np.asarray(vectors[start:stop]))))
        settle(store)
    return time.monotonic() - started


def recall(path: Path, embedder: Embedder, queries: np.ndarray) -> float:
    """Recall@10 of the default funnel against exact search."""
    with Store.open(path, embedder.space, store_options(Settings())) as store:
        lean = {"with_text": False, "with_metadata": False}
        found = store.search(queries, Query(**lean))
        exact = store.search(queries, Query(exact=True, **lean))
    pairs = zip(found, exact, strict=True)
    return float(np.mean([recall_at_k([h.doc_id for h in f.hits], [h.doc_id for h in e.hits], 10) for f, e in pairs]))


def ask(server: Server, bodies: Sequence[dict[str, Any]], warm_up: int) -> dict[str, list[float]]:
    """Milliseconds of every stage, of the whole handling and of the request as the client sees it.

    The first `warm_up` requests do not count.
    """
    taken: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for number, body in enumerate(bodies):
        started = time.perf_counter()
        answer = server.client.post("/search", json=body)
        elapsed = (time.perf_counter() - started) * 1e3
        answer.raise_for_status()
        if number >= warm_up:
            timing = answer.json()["timing_ms"] | {"http": elapsed}
            for stage in STAGES:
                taken[stage].append(timing.get(stage) or 0.0)
    return taken


def percentiles(taken: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """stage -> p50 and p99 in milliseconds."""
    return {
        stage: {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 99)} for stage, values in taken.items()
    }


def measure(
    size: int, embedder: Embedder, texts: list[str], vectors: np.ndarray, asked: list[str], warm_up: int
) -> dict[str, Any]:
    """One size: fill, serve, ask both ways."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "data"
        seconds = fill(path, embedder, texts[:size], vectors[:size])
        unit = embedder.embed_queries(asked)
        found = recall(path, embedder, unit[:RECALL_QUERIES])
        server = Server({"FUNNEL_DATA_DIR": str(path)}, Path(directory) / "server.log")
        try:
            server.wait()
            encoded = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in unit]
            by_vector = percentiles(ask(server, [{"vector": vector} for vector in encoded], warm_up))
            by_text = percentiles(ask(server, [{"query": text} for text in asked], warm_up))
            stats = server.client.get("/stats").json()
            plan = server.client.post("/search", json={"vector": encoded[0]}).json()["funnel"]["stages"]
            memory = server.memory()
        finally:
            server.end()
    return {
        "documents": size,
        "fill_seconds": round(seconds, 1),
        "stages": plan,
        "recall@10": round(found, 4),
        "vector_in_ms": by_vector,
        "text_in_ms": by_text,
        "memory_bytes": memory,
        "stats": stats,
    }


def show(results: Sequence[dict[str, Any]]) -> None:
    """All sizes as one table: p50 / p99 in milliseconds."""
    table = Table("documents", "recall@10", "", *STAGES, title="milliseconds, p50 / p99", title_justify="left")
    for result in results:
        for name in ("vector_in_ms", "text_in_ms"):
            cells = [f"{result[name][stage]['p50']:.2f} / {result[name][stage]['p99']:.2f}" for stage in STAGES]
            table.add_row(f"{result['documents']:,}", f"{result['recall@10']:.4f}", name.split("_")[0], *cells)
    console.print(table)


def main() -> None:
    """Parse arguments, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of collections and pairs files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 63_436, 370_000])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--warm-up", type=int, default=50, help="requests that do not count")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    embedder = load_embedder(Settings())
    if embedder is None:
        parser.error("FUNNEL_MODEL=none has nothing to embed with")
    texts, queries = read_texts(arguments.data)
    if len(texts) < (largest := max(arguments.sizes)):
        parser.error(f"--data holds {len(texts)} distinct texts, --sizes asks for {largest}")
    key = embedder.space.fingerprint_id
    texts = shortest(texts, largest)
    vectors = cached(key, "latency", texts, lambda t: embedder.embed_documents(t).vectors)
    asked = queries[: arguments.queries + arguments.warm_up]
    results = [measure(size, embedder, texts, vectors, asked, arguments.warm_up) for size in arguments.sizes]
    show(results)
    model = {"model": embedder.model_name, "fingerprint": key, "queries": arguments.queries}
    store_results(arguments.out, {**model, "sizes": results})


if __name__ == "__main__":
    main()

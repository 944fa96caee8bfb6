#!/usr/bin/env python3
"""How fast the bundled model embeds: transformers, the packed body of the service, ONNX Runtime and OpenVINO.

Every backend computes the body of the same model, and "service" all of it as the service does, in one process, in
turns: one query, 16, and documents. Reported are milliseconds of wall clock and of processor, medians, and how many
times faster than transformers: by processor time with one thread, which other programs change little, else by wall
clock. Then where a query's time goes, and with --quality what a backend loses in nDCG@10.

    ./scripts/benchmark_embedding.py --data ../shared/data/squad-dev --out docs/results/embedding.json
    ./scripts/benchmark_embedding.py --data ../shared/data/squad-dev --quality ../shared/data/squad-dev
    ./scripts/benchmark_embedding.py --data DIR --backends transformers packed --repeat 3 --documents 8     # smoke
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embedding_backends import BACKENDS
from harness import console, store_results
from rich.table import Table

from app.bundled_model import BundledEmbedder
from app.collections import Collection, read_collection
from app.compose import load_composed
from app.encoder import Encoder
from app.lane import quiet_loading, twin
from app.relevance import best, judged
from app.settings import Settings

Embed = Callable[[Sequence[str]], np.ndarray]
Taken = dict[str, list[tuple[float, float]]]
SOME, SERVICE = 16, "service"


def backend(name: str, threads: int) -> Embed:
    """Texts -> (n, 768) unit rows, by a backend of that many threads."""
    if name == SERVICE:
        torch.set_num_threads(threads)
        embedder = BundledEmbedder(Settings())
        return embedder.embed_queries
    with quiet_loading():
        model = load_composed(device="cpu").eval()
    make, batch = BACKENDS[name]
    torch.set_num_threads(threads)
    model[0].forward = make(twin(model), threads)

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> np.ndarray:
        torch.set_num_threads(threads)
        rows = np.empty((len(texts), 768), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            features = model.preprocess([texts[i] for i in chosen])
            rows[chosen] = model(features)["sentence_embedding"].numpy()
        return rows

    return embed


def in_turns(calls: dict[str, Callable[[], Any]], repeat: int) -> Taken:
    """(wall, processor) milliseconds of every call in turns, each after one that does not count: the weights of all
    together fit into no cache, those of one do."""
    taken: Taken = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            call()
            wall, processor = time.perf_counter(), time.process_time()
            call()
            taken[name].append(((time.perf_counter() - wall) * 1e3, (time.process_time() - processor) * 1e3))
    return taken


def medians(taken: Taken) -> dict[str, dict[str, float]]:
    """name -> median milliseconds."""
    middle = {name: np.median(np.array(values), axis=0) for name, values in taken.items()}
    return {name: {"wall": round(float(w), 3), "cpu": round(float(c), 3)} for name, (w, c) in middle.items()}


def speeds(ways: dict[str, Embed], threads: int, data: Collection, arguments: argparse.Namespace) -> dict[str, Any]:
    """load -> backend -> its median times and how many times faster than the first backend it was."""
    rng = np.random.default_rng(0)
    queries = [data.queries[i] for i in rng.permutation(len(data.queries))]
    documents = [data.documents[i] for i in rng.permutation(len(data.documents))[: arguments.documents]]
    loads = {"1 query": (1, arguments.repeat), "16 queries": (SOME, arguments.repeat // 4 + 1)}
    results = {}
    for load, (size, repeat) in {**loads, f"{len(documents)} documents": (0, arguments.repeat // 16 + 1)}.items():
        calls = {name: partial(embed, queries[:size] if size else documents) for name, embed in ways.items()}
        found = medians(in_turns(calls, repeat))
        kind = "cpu" if threads == 1 else "wall"
        base = next(iter(found.values()))[kind]
        results[load] = {name: {**times, "times_faster": round(base / times[kind], 2)} for name, times in found.items()}
    return results


def steps(query: str, repeat: int) -> dict[str, dict[str, float]]:
    """Where the time of one query goes in the service's embedder, and what its thread adds."""
    embedder = BundledEmbedder(Settings())
    encoder, loop = Encoder(embedder, 8, 8, query_cache=0), asyncio.new_event_loop()
    again = Encoder(embedder, 8, 8, query_cache=8)
    read = embedder.read([query])
    ids = [torch.tensor(one.ids) for one in read]
    lengths = [len(one) for one in ids]
    with torch.inference_mode():
        calls: dict[str, Callable[[], Any]] = {
            "tokenizer": lambda: embedder.read([query]),
            "transformer": lambda: embedder._body.tokens(ids[0], lengths),
            "words": lambda: embedder._words(ids, lengths),
            "all but the tokenizer": lambda: embedder.compute(read),
            "all of it": lambda: embedder.embed_queries([query]),
            "through the encoder's thread": lambda: loop.run_until_complete(encoder.queries([query])),
            "from the cache": lambda: loop.run_until_complete(again.queries([query])),
        }
        found = medians(in_turns(calls, repeat))
    encoder.close()
    again.close()
    loop.close()
    return found


def quality(ways: dict[str, Embed], data: Collection) -> dict[str, dict[str, float]]:
    """backend -> nDCG@10, judged recall@10 and the least cosine to the first backend's vectors, documents and queries
    both embedded by it, and nDCG@10 with its queries alone."""
    results: dict[str, dict[str, float]] = {}
    first: np.ndarray | None = None
    for name, embed in ways.items():
        documents, queries = embed(data.documents), embed(data.queries)
        first = documents if first is None else first
        values = judged(best(queries, documents).tolist(), data.relevant)
        mixed = judged(best(queries, first).tolist(), data.relevant)
        results[name] = {
            measure: round(float(values[measure].mean()), 4) for measure in ("ndcg@10", "judged_recall@10")
        }
        results[name]["ndcg@10 by queries alone"] = round(float(mixed["ndcg@10"].mean()), 4)
        results[name]["least cosine"] = round(float((documents * first).sum(axis=1).min()), 4)
        console.print(f"  {data.name}, {name}: {results[name]}", style="dim")
    return results


def show(results: dict[str, Any]) -> None:
    """All of it as tables."""
    for threads, loads in results["threads"].items():
        table = Table(f"{threads} thread(s)", *loads, title="milliseconds of wall clock / processor, times faster")
        for name in next(iter(loads.values())):
            cells = [
                f"{t[name]['wall']:.1f} / {t[name]['cpu']:.1f}  {t[name]['times_faster']:.2f}x" for t in loads.values()
            ]
            table.add_row(name, *cells)
        console.print(table)
    for name, times in results["one query, step by step"].items():
        console.print(f"{name:30} {times['wall']:8.3f} / {times['cpu']:.3f} ms")


def main() -> None:
    """Parse arguments, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of a collection: queries and documents")
    parser.add_argument(
        "--backends", nargs="+", metavar="NAME", choices=[*BACKENDS, SERVICE], default=[*BACKENDS, SERVICE]
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repeat", type=int, default=40, help="turns for one query; fewer for more texts")
    parser.add_argument("--documents", type=int, default=32, help="documents embedded together")
    parser.add_argument("--quality", type=Path, nargs="*", default=[], help="collections to compare nDCG@10 on")
    parser.add_argument("--queries", type=int, help="of each such collection, at most")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    data = read_collection(arguments.data)
    results: dict[str, Any] = {"data": data.name, "missing": {}, "threads": {}, "quality": {}}
    for threads in arguments.threads:
        ways: dict[str, Embed] = {}
        for name in arguments.backends:
            try:
                ways[name] = backend(name, threads)
            except ImportError as error:
                results["missing"][name] = str(error)
                console.print(f"left out: {name}: {error}", style="yellow")
        results["threads"][threads] = speeds(ways, threads, data, arguments)
    results["one query, step by step"] = steps(data.queries[0], arguments.repeat)
    show(results)
    for folder in arguments.quality:
        judgements = read_collection(folder)
        results["quality"][judgements.name] = quality(ways, judgements.sampled(arguments.queries))
    store_results(arguments.out, results)


if __name__ == "__main__":
    main()

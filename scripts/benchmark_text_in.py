#!/usr/bin/env python3
"""Searches by text over HTTP against the model's own time: latency of one client, throughput of many, the cache.

A real server with the bundled model on a directory of synthetic documents; the queries are those of a collection, each
asked once. In turns, one after the other: a search over HTTP, and in this process the forward pass of the same query
(tokens to vector, without the tokenizer), by the service's model and by transformers. Then rounds of one
client and of many, keep-alive, and the last queries again, which the cache has. The bars are ratios within the run:
the median of a search at most 1.25 times that of a forward pass, 16 clients at least 2.5 times the throughput of one,
a repeated query in 2 ms.

    export OMP_WAIT_POLICY=PASSIVE   # as `funnel` has it
    ./scripts/benchmark_text_in.py --data ../shared/data/squad-dev --out docs/results/text-in.json
    ./scripts/benchmark_text_in.py --data ../shared/data/squad-dev --documents 200 --turns 10 --seconds 0.5   # smoke
"""

import argparse
import http.client
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Server, console, store_results

from app.bundled_model import BundledEmbedder
from app.collections import read_collection
from app.compose import load_composed
from app.embedder import Embedder
from app.settings import Settings, store_options
from index.document import Document
from index.store import Store

LATENCY, THROUGHPUT, REPEATED_MS = 1.25, 2.5, 2.0  # the bars
Forward = Callable[[str], Callable[[], Any]]  # a query -> the computation of its vector
WARM_UP, REPEATED = 10, 50
LOAD = 4_096


def fill(path: Path, embedder: Embedder, documents: int) -> None:
    """A directory of documents with random unit vectors."""
    rng = np.random.default_rng(0)
    with Store.open(path, embedder.space, store_options(Settings())) as store:
        for start in range(0, documents, LOAD):
            size = min(LOAD, documents - start)
            vectors = rng.standard_normal((size, embedder.space.dim), dtype=np.float32)
            texts = [Document(f"d{row}", f"Document {row}.") for row in range(start, start + size)]
            store.write(texts, dict(enumerate(vectors)))


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def search(self, query: str) -> float:
        """Milliseconds of a search; raises RuntimeError unless it is answered with results."""
        body = json.dumps({"query": query})
        began = time.perf_counter()
        self._connection.request("POST", "/search", body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        took = (time.perf_counter() - began) * 1e3
        if answer.status != 200 or not json.loads(content)["results"]:
            raise RuntimeError(f"{answer.status}: {content[:200]!r}")
        return took


def forwards(embedder: BundledEmbedder) -> dict[str, Forward]:
    """How the service's model and transformers compute a query whose tokens are read already."""
    model = load_composed(device="cpu").eval()
    return {
        "service": lambda query: partial(embedder.compute, embedder.read([query])),
        "transformers": lambda query: partial(torch.inference_mode()(model), model.preprocess([query])),
    }


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of a call, of wall clock and of processor."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - processor) * 1e3


def spent(server: Server) -> float:
    """Seconds of processor that the server's threads have used."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def latency(server: Server, models: dict[str, Forward], queries: Iterator[str], turns: int) -> dict[str, Any]:
    """Medians of a search and of the models' forward passes, in milliseconds of wall clock and of processor."""
    client, ways = Client(server.port), ("search", *models)
    wall: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        query = next(queries)
        began = spent(server)
        wall["search"].append(client.search(query))
        processor["search"].append((spent(server) - began) * 1e3)
        for name, model in models.items():
            taken = timed(model(query))
            wall[name].append(taken[0])
            processor[name].append(taken[1])
    middle = {kind: medians(values) for kind, values in (("wall", wall), ("processor", processor))}
    ratios = {
        f"search / {name}, {kind}": round(values["search"] / values[name], 3)
        for kind, values in middle.items()
        for name in models
    }
    return {"p50_ms": middle, **ratios}


def medians(values: dict[str, list[float]]) -> dict[str, float]:
    """name -> median, without the first ones."""
    return {name: round(float(np.median(found[WARM_UP:])), 3) for name, found in values.items()}


def repeated(server: Server, client: Client, queries: list[str]) -> dict[str, float]:
    """Milliseconds of a search whose vector the cache has."""
    began = spent(server)
    middle = float(np.median([client.search(query) for query in queries]))
    processor = (spent(server) - began) * 1e3 / len(queries)
    return {"repeated_p50_ms": round(middle, 3), "repeated_processor_ms": round(processor, 3)}


def throughput(server: Server, clients: int, queries: Iterator[str], seconds: float) -> tuple[float, float]:
    """Searches answered in a second, all clients together, and the server's milliseconds of processor for each."""
    chosen, until = list(queries), time.perf_counter() + seconds
    shared = iter(chosen)

    def ask() -> int:
        client, answered = Client(server.port), 0
        while time.perf_counter() < until and (query := next(shared, None)) is not None:
            client.search(query)
            answered += 1
        return answered

    with ThreadPoolExecutor(clients) as pool:
        began, before = time.perf_counter(), spent(server)
        answered = sum(pool.map(lambda _: ask(), range(clients)))
        return answered / (time.perf_counter() - began), (spent(server) - before) * 1e3 / answered


def rounds(server: Server, queries: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Searches a second of one client and of many, in turns; every round has queries of its own."""
    rates: dict[str, list[tuple[float, float]]] = {"one": [], "many": []}
    shares = np.array_split(np.array(queries, dtype=object), 2 * arguments.rounds)
    for number in range(arguments.rounds):
        for place, (name, clients) in enumerate((("one", 1), ("many", arguments.clients))):
            asked = iter(shares[2 * number + place].tolist())
            rates[name].append(throughput(server, clients, asked, arguments.seconds))
    ratios = [many[0] / one[0] for one, many in zip(rates["one"], rates["many"], strict=True)]
    return {
        "clients": arguments.clients,
        "searches_per_second": {name: [round(rate, 1) for rate, _ in found] for name, found in rates.items()},
        "processor_ms_per_search": {name: [round(ms, 2) for _, ms in found] for name, found in rates.items()},
        "times_one": round(float(np.median(ratios)), 2),
    }


def main() -> None:
    """Parse arguments, serve, ask, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of a collection; its queries are asked")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=200, help="of search and forward pass")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each round with one client, and with many")
    parser.add_argument("--encode-threads", type=int, help="FUNNEL_ENCODE_THREADS, here and in the server")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    queries = list(dict.fromkeys(read_collection(arguments.data).queries))
    embedder = BundledEmbedder(Settings())
    if arguments.encode_threads:
        torch.set_num_threads(arguments.encode_threads)
    turns = arguments.turns + WARM_UP
    threads = {"FUNNEL_ENCODE_THREADS": str(arguments.encode_threads)} if arguments.encode_threads else {}
    with tempfile.TemporaryDirectory() as directory:
        fill(Path(directory) / "data", embedder, arguments.documents)
        began = time.perf_counter()
        given = {"FUNNEL_DATA_DIR": f"{directory}/data", "FUNNEL_AUTO_CALIBRATE": "0", **threads}
        server = Server(given, Path(directory) / "server.log")
        try:
            server.wait()
            client = Client(server.port)
            client.search(queries[-1])
            started = round(time.perf_counter() - began, 2)
            found = latency(server, forwards(embedder), iter(queries), turns)
            found.update(repeated(server, client, queries[turns - REPEATED : turns] * 4))
            found["throughput"] = rounds(server, queries[turns:-1], arguments)
        finally:
            server.end()
    bars = {"search / service, wall": LATENCY, "times_one": THROUGHPUT, "repeated_p50_ms": REPEATED_MS}
    results = {"documents": arguments.documents, "vectors": "synthetic", "first_answer_seconds": started, **found}
    console.print_json(data={**results, "bars": bars})
    store_results(arguments.out, {**results, "bars": bars})


if __name__ == "__main__":
    main()

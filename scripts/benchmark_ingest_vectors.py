#!/usr/bin/env python3
"""Documents that bring their vectors, over HTTP as Arrow record batches, durable on disk: rows a second, and searches.

Starts a real server without a model, then sends synthetic unit vectors (speed does not depend on what they mean) with a
text of 60 characters and two keys of metadata, made before the clock starts. One process searches by vector at a steady
pace: before the ingest, while it runs, and while the graph or the codes are still being built after it. Beside wall
time, which other work on the machine stretches, the time on a core of the server and of the sender is told, and how
long the disk takes to write and sync as many bytes of vectors in pieces of 16 MiB.

    ./scripts/benchmark_ingest_vectors.py --rows 300000 --out docs/results/ingest-vectors.json
    ./scripts/benchmark_ingest_vectors.py --rows 300000 --shortlist-index packed --prefix-dim 256
    ./scripts/benchmark_ingest_vectors.py --rows 3000 --seconds 1                      a smoke test
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from harness import Server, console, store_results

from app.client import Client

BATCH = 2_048  # rows made at a time
SYNCED = 16 << 20  # bytes between two syncs when the disk is measured
TICK = os.sysconf("SC_CLK_TCK")
SEARCHER = """
import json, sys, time, httpx, numpy as np
url, dim, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
client, random = httpx.Client(base_url=url, timeout=60), np.random.default_rng(7)
while True:
    vector = random.standard_normal(dim).astype(np.float32)
    began = time.time()
    client.post("/search", json={"vector": vector.tolist(), "limit": 10}).raise_for_status()
    print(json.dumps([began, time.time() - began]), flush=True)
    time.sleep(max(0.0, pause - (time.time() - began)))
"""


def batches(rows: int, dim: int) -> list[Any]:
    """Record batches of documents with random unit vectors."""
    random, made = np.random.default_rng(0), []
    for start in range(0, rows, BATCH):
        numbers = range(start, min(start + BATCH, rows))
        vectors = random.standard_normal((len(numbers), dim), dtype=np.float32)
        columns = {
            "id": [f"document-{n}" for n in numbers],
            "text": [f"the text of a document that somebody else embedded, {n:8d}" for n in numbers],
            "metadata": [json.dumps({"lang": "en", "number": n}) for n in numbers],
            "vector": pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), dim),
        }
        made.append(pyarrow.record_batch(columns))
    return made


def processor_seconds(process: int) -> float:
    """Time on a core that a process has had, in user and system mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def disk_seconds(folder: Path, size: int) -> float:
    """How long the disk takes to write and sync so many bytes."""
    piece, path = os.urandom(SYNCED), folder / "disk"
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(max(1, size // SYNCED)):
            file.write(piece)
            os.fsync(file.fileno())
    took = time.perf_counter() - started
    path.unlink()
    return took


def searched(lines: Iterator[str], phases: dict[str, tuple[float, float]]) -> dict[str, dict[str, float]]:
    """By phase (begin and end): number of searches, p50 and p99 in milliseconds."""
    told = np.array([json.loads(line) for line in lines]).reshape(-1, 2)
    found = {}
    for name, (begin, end) in phases.items():
        took = 1e3 * told[(told[:, 0] >= begin) & (told[:, 0] < end), 1]
        if len(took):
            p50, p99 = np.percentile(took, [50, 99])
            found[name] = {"searches": len(took), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}
    return found


def unmerged(client: Client) -> int:
    """Rows that a flat scan still covers; 0 when nothing is being merged."""
    shortlist = client.stats()["shortlist"]
    return int(shortlist["tail_rows"]) if shortlist["merging"] else 0


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole run."""
    sent = batches(arguments.rows, arguments.dim)
    size = 4 * arguments.dim * arguments.rows
    disk = [disk_seconds(folder, size)]
    settings = {
        "FUNNEL_DATA_DIR": f"{folder}/data",
        "FUNNEL_MODEL": "none",
        "FUNNEL_DIM": str(arguments.dim),
        "FUNNEL_PREFIX_DIM": str(arguments.prefix_dim),
        "FUNNEL_SHORTLIST_INDEX": arguments.shortlist_index,
        "FUNNEL_STORAGE": arguments.storage,
        "FUNNEL_AUTO_CALIBRATE": "false",
    }
    server = Server(settings, folder / "server.log")
    try:
        server.wait()
        with Client(server.url, timeout=600) as client:
            client.ingest_arrow(sent[:1])
            about = ingested(arguments, client, server, sent[1:], folder)
            about["stats"] = {name: client.stats()[name] for name in ("count", "shortlist")}
        memory = server.memory()
    finally:
        server.end()
    disk.append(disk_seconds(folder, size))
    return about | {"disk_rows_per_second": [round(arguments.rows / s) for s in disk], "memory_bytes": memory}


def ingested(
    arguments: argparse.Namespace, client: Client, server: Server, sent: list[Any], folder: Path
) -> dict[str, Any]:
    """Rates of the ingest, and searches before, during and after it."""
    log, rows = folder / "searches", sum(batch.num_rows for batch in sent)
    command = [sys.executable, "-c", SEARCHER, server.url, str(arguments.dim), str(arguments.pause)]
    phases: dict[str, tuple[float, float]] = {}
    searcher = None
    try:
        if arguments.seconds:
            searcher = subprocess.Popen(command, stdout=log.open("w"))
            begun = time.time() + 1.0
            time.sleep(arguments.seconds + 1.0)
            phases["idle"] = begun, time.time()
        begun, cpu, own = time.time(), processor_seconds(server.process.pid), time.process_time()
        totals = client.ingest_arrow(sent)
        ended = time.time()
        cpu, own = processor_seconds(server.process.pid) - cpu, time.process_time() - own
        phases["ingest"] = begun, ended
        behind = unmerged(client)
        while unmerged(client):
            time.sleep(0.2)
        phases["building after it"] = ended, time.time()
    finally:
        if searcher:
            searcher.kill()
            searcher.wait()
    assert totals.created == rows, totals
    return {
        "rows": rows,
        "seconds": round(ended - begun, 2),
        "rows_per_second": round(rows / (ended - begun)),
        "server_us_per_row": round(1e6 * cpu / rows, 1),
        "sender_us_per_row": round(1e6 * own / rows, 1),
        "behind_rows": behind,
        "built_after_seconds": round(phases["building after it"][1] - ended, 1),
        "searches": searched(log.open(), phases) if searcher else {},
    }


def main() -> None:
    """Parse arguments, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--prefix-dim", type=int, default=64)
    parser.add_argument("--shortlist-index", choices=("auto", "flat", "hnsw", "packed"), default="auto")
    parser.add_argument("--storage", default="float32")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of searches before the ingest; 0: no searches at all"
    )
    parser.add_argument("--pause", type=float, default=0.05, help="seconds from one search to the next")
    parser.add_argument("--folder", type=Path, help="where the index is made, and removed")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="funnel-ingest-", dir=arguments.folder) as folder:
        names = ("dim", "prefix_dim", "shortlist_index", "storage", "pause")
        results = {name: getattr(arguments, name) for name in names} | measure(arguments, Path(folder))
    console.print_json(data=results)
    store_results(arguments.out, results)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Ingest throughput against bare `model.encode` on the same texts, memory and bytes on disk.

Cuts a corpus into parts (shuffled with seed 0), starts a real server and sends each part with `funnel ingest`.
Every --bare-th part is also embedded by a plain SentenceTransformer.encode in this process while the server is
idle, before or after its ingest in turn; the ratio of the two rates is taken over these parts.

    ./scripts/benchmark_ingest.py ../data/debian-packages/corpus.jsonl.gz --out docs/results/ingest.json
    ./scripts/benchmark_ingest.py corpus.jsonl.gz --documents 400 --parts 2 --bare 1     # smoke
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import Server, console, lines, store_results

from app.compose import load_composed


def read_documents(path: Path, limit: int | None) -> list[dict[str, Any]]:
    """Documents with text, shuffled; the title is left out, as in a known-item search."""
    rows = [row for row in lines(path) if row["text"].strip()]
    chosen = np.random.default_rng(0).permutation(len(rows))[:limit]
    return [{"id": rows[i]["_id"], "text": rows[i]["text"], "metadata": rows[i].get("metadata", {})} for i in chosen]


def bare(model: Any, documents: Sequence[dict[str, Any]], batch_size: int) -> float:
    """Seconds of a plain encode of the texts."""
    started = time.perf_counter()
    model.encode([document["text"] for document in documents], batch_size=batch_size, show_progress_bar=False)
    return time.perf_counter() - started


def ingest(server: Server, documents: Sequence[dict[str, Any]], folder: Path) -> float:
    """Seconds of `funnel ingest` of a file, from the start of the command to its end."""
    path = folder / "part.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    started = time.perf_counter()
    command = [sys.executable, "-m", "app.cli", "ingest", str(path), "--url", server.url]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure(documents: list[dict[str, Any]], parts: int, every: int, batch_size: int) -> dict[str, Any]:
    """All parts: rates, their ratio, memory and disk at the end."""
    model = load_composed(device="cpu")
    model.encode(["warm up"] * 32)
    compared: list[dict[str, float]] = []
    total = 0.0
    with tempfile.TemporaryDirectory() as directory:
        server = Server({"FUNNEL_DATA_DIR": f"{directory}/data"}, Path(directory) / "server.log")
        try:
            server.wait()
            for number, part in enumerate(np.array_split(np.arange(len(documents)), parts)):
                chosen = [documents[i] for i in part]
                both = number % every == 0
                first = bare(model, chosen, batch_size) if both and number % (2 * every) == 0 else None
                seconds = ingest(server, chosen, Path(directory))
                total += seconds
                if both:
                    plain = first if first is not None else bare(model, chosen, batch_size)
                    compared.append({"documents": len(chosen), "ingest_seconds": seconds, "bare_seconds": plain})
                console.print(f"part {number + 1} of {parts}: {len(chosen) / seconds:.1f} documents/s", style="dim")
            stats = server.client.get("/stats").json()
            memory = server.memory()
        finally:
            server.end()  # gives back what was preallocated
        disk = sum(path.stat().st_blocks * 512 for path in Path(directory, "data").rglob("*") if path.is_file())
    return summary(documents, total, compared, stats, memory) | {
        "disk_bytes_per_document": round(disk / len(documents))
    }


def summary(
    documents: list[dict[str, Any]],
    seconds: float,
    compared: list[dict[str, float]],
    stats: dict[str, Any],
    memory: dict[str, int],
) -> dict[str, Any]:
    """The figures of a run."""
    ratios = [part["bare_seconds"] / part["ingest_seconds"] for part in compared]
    return {
        "documents": len(documents),
        "characters": sum(len(document["text"]) for document in documents),
        "documents_per_second": round(len(documents) / seconds, 1),
        "ratio_to_bare_encode": {"mean": round(float(np.mean(ratios)), 3), "parts": [round(r, 3) for r in ratios]},
        "compared_parts": compared,
        "memory_bytes": memory,
        "stats": stats,
    }


def main() -> None:
    """Parse arguments, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="corpus.jsonl.gz with _id and text")
    parser.add_argument("--documents", type=int, help="at most this many")
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--bare", type=int, default=4, help="compare every n-th part with bare encode")
    parser.add_argument("--batch-size", type=int, default=32, help="of the bare encode; 32 is its default")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    documents = read_documents(arguments.corpus, arguments.documents)
    results = {"bare_batch_size": arguments.batch_size} | measure(
        documents, arguments.parts, arguments.bare, arguments.batch_size
    )
    console.print_json(data={name: value for name, value in results.items() if name != "compared_parts"})
    store_results(arguments.out, results)


if __name__ == "__main__":
    main()

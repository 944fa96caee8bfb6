#!/usr/bin/env python3
"""What each type of FUNNEL_STORAGE costs: bytes, recall lost by exact search, microseconds of a reranked row.

Exact search over the stored vectors is compared with exact search over the float32 vectors they were made of; a row
whose float32 score ties that of the last true one within 1e-6 counts. Vectors are kept below .cache/vectors. Times are
those of the thread on a core, which other work on the machine hardly moves; the types take turns.

    ./scripts/compare_storage.py --data DATA --collection debian-packages --out docs/results/storage-debian.json
    ./scripts/compare_storage.py --data DATA --collection squad-dev --documents 500 --queries 50    a smoke test
    ./scripts/compare_storage.py --page                                          write docs/storage.md
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from best_rows import Top
from comparing import RESULTS, options, run
from figures import fill, source, table
from harness import console
from recall_collections import load_case
from rich.progress import track

from index.codec import CODECS, Codec
from index.exact import TIE

KS = (10, 100)
SHORTLISTS = (100, 400, 1_600)
REPEATS = 40  # reranks of one length, the best of three rounds of which counts
BLOCK = 8_192  # rows encoded at a time
PAGE = Path("docs/storage.md")
BEGIN, END = "<!-- written by scripts/compare_storage.py --page -->", "<!-- end of what it writes -->"
HEAD = ("storage", "GB for 10M rows", *(f"points of recall@{k} lost" for k in KS), "scores move by")
HEAD += (*(f"us a row, {n:,} reranked" for n in SHORTLISTS), "us to encode a row")


def everything(arguments: argparse.Namespace) -> dict[str, Any]:
    """All types on one collection and model."""
    case = load_case(arguments.data, arguments.collection, arguments.model, arguments.documents, None)
    queries = np.ascontiguousarray(case.queries[: arguments.queries], dtype=np.float32)
    codecs = [CODECS[name](case.documents.shape[1]) for name in CODECS]
    losses = measure_losses(codecs, case.documents, queries)
    times = measure_times(codecs, np.asarray(case.documents[: arguments.timed]), queries)
    return {
        "collection": case.name,
        "model": case.model,
        "documents": len(case.documents),
        "dim": case.documents.shape[1],
        "queries": len(queries),
        "timed_rows": min(arguments.timed, len(case.documents)),
        "types": [
            {"storage": codec.name, "row_bytes": codec.row_bytes, **losses[codec.name], **times[codec.name]}
            for codec in codecs
        ],
    }


def measure_losses(codecs: list[Codec], documents: np.ndarray, queries: np.ndarray) -> dict[str, dict[str, Any]]:
    """By name: points of recall lost with their standard error, and how far scores of rows are from the true ones."""
    keep = min(max(KS), len(documents))
    tops = {codec.name: Top(len(queries), keep) for codec in codecs}
    errors: dict[str, list[float]] = {codec.name: [] for codec in codecs}
    for start in track(range(0, len(documents), BLOCK), "exact search", console=console):
        rows = np.ascontiguousarray(documents[start : start + BLOCK], dtype=np.float32)
        true = queries @ rows.T
        for codec in codecs:
            scores = queries @ codec.decode(codec.encode(rows)).T
            tops[codec.name].add(start, scores)
            errors[codec.name].append(float(np.square(scores - true, dtype=np.float64).mean()))
    best = tops["float32"].scores
    return {
        name: {"lost": lost(documents, queries, best, top.rows), "score_error": float(np.sqrt(np.mean(errors[name])))}
        for name, top in tops.items()
    }


def lost(documents: np.ndarray, queries: np.ndarray, best: np.ndarray, rows: np.ndarray) -> dict[str, list[float]]:
    """By k: [points lost, standard error] of (q, keep) rows against the (q, keep) true best scores."""
    true = np.stack([documents[found] @ query for found, query in zip(rows, queries, strict=True)])
    found: dict[str, list[float]] = {}
    for k in (min(k, rows.shape[1]) for k in KS):
        missed = 100 * (true[:, :k] < best[:, k - 1 : k] - TIE).mean(axis=1)
        found[str(k)] = [round(float(missed.mean()), 3), round(float(missed.std() / len(missed) ** 0.5), 3)]
    return found


def measure_times(codecs: list[Codec], rows: np.ndarray, queries: np.ndarray) -> dict[str, dict[str, Any]]:
    """By name: microseconds of a reranked row by the length of the shortlist, and of encoding one."""
    stored = {codec.name: codec.encode(rows) for codec in codecs}
    encode = {codec.name: min(clock(lambda c=codec: c.encode(rows[:BLOCK]), 3)) for codec in codecs}
    rerank: dict[str, dict[str, float]] = {codec.name: {} for codec in codecs}
    for length in SHORTLISTS:
        length = min(length, len(rows))
        lists = np.random.default_rng(0).integers(0, len(rows), (REPEATS, length))
        took: dict[str, list[float]] = {codec.name: [] for codec in codecs}
        for _ in range(3):
            for codec in codecs:
                took[codec.name].append(rerank_seconds(codec, stored[codec.name], lists, queries))
        for name, seconds in took.items():
            rerank[name][str(length)] = round(min(seconds) * 1e6 / length, 3)
    per_row = {name: round(seconds * 1e6 / len(rows[:BLOCK]), 2) for name, seconds in encode.items()}
    return {name: {"rerank_us": rerank[name], "encode_us": per_row[name]} for name in rerank}


def rerank_seconds(codec: Codec, stored: np.ndarray, lists: np.ndarray, queries: np.ndarray) -> float:
    """Seconds on a core of one rerank, the median of many."""
    asked = iter(zip(lists, np.resize(queries, (len(lists), queries.shape[1])), strict=True))
    return float(np.median(clock(lambda: codec.scores(stored, *next(asked)), len(lists))))


def clock(work: Any, times: int) -> list[float]:
    """Seconds on a core of each of several runs."""
    took = []
    for _ in range(times):
        started = time.thread_time()
        work()
        took.append(time.thread_time() - started)
    return took


def cells(one: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    losses = (f"{value:.2f} ± {error:.2f}" for value, error in one["lost"].values())
    times = (f"{value:.2f}" for value in one["rerank_us"].values())
    size = f"{one['row_bytes'] * 10_000_000 / 1e9:.1f}"
    return f"`{one['storage']}`", size, *losses, f"{one['score_error']:.0e}", *times, f"{one['encode_us']:.1f}"


def page() -> Iterator[str]:
    """The tables of all stored results."""
    for path in sorted(RESULTS.glob("storage-*.json")):
        results = json.loads(path.read_text())
        yield f"### {results['collection']}, {results['model']}: {results['documents']:,} rows of {results['dim']}"
        yield ""
        yield f"{results['queries']:,} queries; times with the first {results['timed_rows']:,} rows in memory."
        yield ""
        yield from table(HEAD, [cells(one) for one in results["types"]])
        yield from source(results)


def show(results: dict[str, Any]) -> None:
    """A line for every type."""
    for one in results["types"]:
        console.print("  ".join(cells(one)))


def main() -> None:
    """Parse arguments, measure, print, store; or write the page."""
    parser = options(__doc__, 2_000, "docs/storage.md")
    parser.add_argument("--timed", type=int, default=60_000, help="rows that reranks are timed on")
    run(parser, lambda: fill(PAGE, BEGIN, END, page()), everything, show)


if __name__ == "__main__":
    main()

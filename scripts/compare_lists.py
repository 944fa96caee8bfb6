#!/usr/bin/env python3
"""What lists of packed codes are worth: recall inside a shortlist and time of a first stage, by how deep it looks.

One list of all rows beside many, of the same codes; searches of both take turns, and times are those of the thread on a
core. Vectors are kept below .cache/vectors.

    ./scripts/compare_lists.py --data DATA --collection all --out docs/results/lists-all-bundled.json
    ./scripts/compare_lists.py --data DATA --documents 3000 --queries 100        a smoke test
    ./scripts/compare_lists.py --page                                            write its part of docs/codes.md
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import faiss
import numpy as np
from compare_codes import PAGE, K
from comparing import RESULTS, options, run
from figures import fill, source, table
from harness import console
from recall_collections import load_case

from app.shortlists import nearest
from index import lists
from index.matryoshka import prefixes
from index.packed import Packed

DIMS, SHORTLISTS = 256, (50, 100, 200)
DEPTHS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3)
BLOCK = 65_536
BEGIN, END = "<!-- written by scripts/compare_lists.py --page -->", "<!-- end of the lists -->"
HEAD = ("depth", "lists looked into", "codes compared", *(f"recall in {n}" for n in SHORTLISTS), "of the time of all")


def build(rows: np.ndarray, least: float) -> tuple[Packed, float]:
    """(n, DIMS) prefixes packed, in lists where there are at least so many, and the seconds of a core that took."""
    lists.LISTED_FROM = least
    started = time.thread_time()
    packed = Packed.empty(np.ascontiguousarray(rows[:: max(1, len(rows) // lists.sampled(len(rows)))]), len(rows))
    for start in range(0, len(rows), BLOCK):
        packed.add(rows[start : start + BLOCK])
    return packed, time.thread_time() - started


def measured(one: Packed, many: Packed, asked: np.ndarray, truth: np.ndarray, depth: float) -> dict[str, Any]:
    """One depth; (q, K) `truth` are the exact best rows. The time is a ratio: each query is asked of both, in turn."""
    found: dict[int, list[float]] = {length: [] for length in SHORTLISTS}
    spent, probed, codes = [], [], []
    sizes = np.array([many._inverted._lists.list_size(number) for number in range(many.lists)])
    for query, best in zip(asked, truth, strict=True):
        for length, recalls in found.items():
            recalls.append(float(np.isin(best, many.search(query, length, depth, None)[0]).mean()))
        spent.append((timed(many, query, depth), timed(one, query, depth)))
        near = lists.near(query, many._centres, depth)
        probed.append(len(near))
        codes.append(int(sizes[near].sum()))
    return {
        "depth": depth,
        "lists": round(float(np.mean(probed)), 1),
        "codes": round(float(np.mean(codes)) / many.rows, 4),
        "recall": {str(length): round(float(np.mean(recalls)), 4) for length, recalls in found.items()},
        "time": round(float(np.median([mine for mine, _ in spent]) / np.median([all for _, all in spent])), 3),
    }


def timed(packed: Packed, query: np.ndarray, depth: float) -> float:
    """Seconds of this thread on a core for one search."""
    started = time.thread_time()
    packed.search(query, SHORTLISTS[1], depth, None)
    return time.thread_time() - started


def everything(arguments: argparse.Namespace) -> dict[str, Any]:
    """All depths on one collection and model."""
    faiss.omp_set_num_threads(1)
    case = load_case(arguments.data, arguments.collection, arguments.model, arguments.documents, None)
    documents, queries = np.asarray(case.documents), case.queries[: arguments.queries]
    truth = nearest(queries, documents)[:, :K]
    rows, asked = prefixes(documents, DIMS), prefixes(queries, DIMS)
    del documents
    (one, plain), (many, listed) = build(rows, np.inf), build(rows, 0)
    everyone = [
        float(np.mean([np.isin(b, one.search(q, n, 0, None)[0]).mean() for q, b in zip(asked, truth, strict=True)]))
        for n in SHORTLISTS
    ]
    return {
        "collection": case.name,
        "model": case.model,
        "documents": len(rows),
        "queries": len(asked),
        "lists": many.lists,
        "bytes_a_row": [one.row_bytes, many.row_bytes],
        "build_s": [round(plain, 1), round(listed, 1)],
        "all": [round(recall, 4) for recall in everyone],
        "depths": [measured(one, many, asked, truth, depth) for depth in DEPTHS],
    }


def cells(results: dict[str, Any]) -> Iterator[Sequence[str]]:
    """The rows of the table, the last one of all codes compared."""
    for one in results["depths"]:
        recalls = (f"{value:.3f}" for value in one["recall"].values())
        yield f"{one['depth']:g}", f"{one['lists']:,.0f}", f"{one['codes']:.3f}", *recalls, f"{one['time']:.2f}"
    yield "all", "1", "1.000", *(f"{value:.3f}" for value in results["all"]), "1.00"


def page() -> Iterator[str]:
    """The tables of all stored results."""
    for path in sorted(RESULTS.glob("lists-*.json")):
        results = json.loads(path.read_text())
        rows, number = results["documents"], results["lists"]
        yield f"### {results['collection']}, {results['model']}: {rows:,} rows in {number:,} lists"
        yield ""
        yield from table(HEAD, list(cells(results)))
        yield from source(results)


def show(results: dict[str, Any]) -> None:
    """The table of the page."""
    console.print("\n".join(table(HEAD, list(cells(results)))))


def main() -> None:
    """Parse arguments, measure, print, store; or write the page."""
    parser = options(__doc__, 600, "its part of docs/codes.md")
    run(parser, lambda: fill(PAGE, BEGIN, END, page()), everything, show)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Which code of a first stage is worth its bytes: recall inside shortlists, and the time of a scan, on real vectors.

Every code compares all rows, so that what differs is the code alone: prefixes of several widths as floats, at 8 and at
4 bits (FAISS's scalar quantizer, its PQ fast scan) and RaBitQ at 1 and 2 bits. Vectors are kept below .cache/vectors.
Times are those of the thread on a core, which other work on the machine hardly moves.

    ./scripts/compare_codes.py --data DATA --collection debian-packages --out docs/results/codes-debian-bundled.json
    ./scripts/compare_codes.py --data DATA --collection debian-packages --model minilm --rotate \\
        --out docs/results/codes-debian-minilm.json
    ./scripts/compare_codes.py --data DATA --documents 2000 --queries 100        a smoke test
    ./scripts/compare_codes.py --page                                            write docs/codes.md
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from comparing import RESULTS, options, run
from figures import fill, source, table
from harness import console
from recall_collections import load_case
from rich.table import Table

from app.rotating import RotationSettings, default_widths, learn
from app.shortlists import nearest
from index.matryoshka import prefixes

K = 10
SHORTLISTS = (50, 100, 200, 400)
WANTED = (0.95, 0.99)
DEEPEST = 5_000  # rows of the longest shortlist looked at
TIMED = 200  # queries, one after the other, and rows that each asks for
LEARNED_FROM = 20_000  # rows that a rotation is learned from
SEED = 0
PAGE = Path("docs/codes.md")
BEGIN, END = "<!-- written by scripts/compare_codes.py --page -->", "<!-- end of what it writes -->"
Quantizer = faiss.ScalarQuantizer
Make = Callable[[int], faiss.Index]


@dataclass(frozen=True)
class Code:
    """A way to keep the first `dims` numbers of a row; `make` gets `dims` and returns an index that is not trained."""

    name: str
    dims: int
    make: Make

    def build(self, rows: np.ndarray) -> tuple[faiss.Index, int, float]:
        """The index of (n, dims) prefixes, its bytes a row, and the microseconds a row took."""
        started = time.thread_time()
        index = self.make(self.dims)
        if not index.is_trained:
            index.train(rows[:: max(1, len(rows) // LEARNED_FROM)].copy())
        index.add(rows)
        stored = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
        return index, int(stored.code_size), (time.thread_time() - started) * 1e6 / len(rows)


def rabitq(bits: int, scan: bool = False) -> Make:
    """RaBitQ (Gao and Long 2024) behind a random rotation, as it wants; with `scan` FAISS's fast scan of it."""

    def make(dims: int) -> faiss.Index:
        turn = faiss.RandomRotationMatrix(dims, dims)
        turn.init(SEED)
        inner = faiss.METRIC_INNER_PRODUCT
        base = faiss.IndexRaBitQFastScan(dims, inner, 32, bits) if scan else faiss.IndexRaBitQ(dims, inner, bits)
        index = faiss.IndexPreTransform(turn, base)
        index.is_trained = False
        return index

    return make


def scalar(kind: int) -> Make:
    """A code for each number by itself."""
    return lambda dims: faiss.IndexScalarQuantizer(dims, kind, faiss.METRIC_INNER_PRODUCT)


def packed(pieces: int) -> Make:
    """`pieces` codes of 4 bits, each of dims / pieces numbers, for the fast scan: the project's own with 64 or 128."""
    return lambda dims: faiss.IndexPQFastScan(dims, pieces, 4, faiss.METRIC_INNER_PRODUCT)


CODES = (
    Code("float32", 64, faiss.IndexFlatIP),
    Code("float32", 128, faiss.IndexFlatIP),
    Code("8 bits a number", 64, scalar(Quantizer.QT_8bit)),
    Code("4 bits a number, fast scan", 64, packed(64)),
    Code("4 bits a number, fast scan", 128, packed(128)),
    Code("4 bits for two, fast scan", 128, packed(64)),
    Code("4 bits for two, fast scan", 256, packed(128)),
    Code("4 bits for four, fast scan", 512, packed(128)),
    Code("RaBitQ, 1 bit", 128, rabitq(1)),
    Code("RaBitQ, 1 bit", 256, rabitq(1)),
    Code("RaBitQ, 1 bit, fast scan", 256, rabitq(1, scan=True)),
    Code("RaBitQ, 1 bit, fast scan", 512, rabitq(1, scan=True)),
    Code("RaBitQ, 2 bits", 128, rabitq(2)),
    Code("RaBitQ, 2 bits", 256, rabitq(2)),
)


def measure(code: Code, documents: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """One code: bytes, recall of the (q, K) `truth` inside shortlists, those that recalls need, microseconds."""
    rows = prefixes(documents, code.dims)
    asked = prefixes(queries, code.dims)
    index, size, per_row = code.build(rows)
    found = index.search(asked, min(DEEPEST, len(rows)))[1]
    hits = np.stack([np.isin(one, best) for one, best in zip(found, truth, strict=True)])
    curve = np.cumsum(hits.mean(axis=0)) / K
    for query in asked[:20]:
        index.search(query[None], TIMED)
    took = [timed(index, query) for query in asked[:TIMED]]
    return {
        "code": code.name,
        "dims": code.dims,
        "bytes": size,
        "recall": {str(length): round(float(curve[length - 1]), 4) for length in SHORTLISTS},
        "shortlist": {str(wanted): shortest(curve, wanted) for wanted in WANTED},
        "search_us": round(float(np.median(took)), 1),
        "build_us_a_row": round(per_row, 1),
    }


def shortest(curve: np.ndarray, wanted: float) -> int | None:
    """The shortest shortlist of that recall, None beyond the deepest."""
    place = int(np.searchsorted(curve, wanted))
    return place + 1 if place < len(curve) else None


def timed(index: faiss.Index, query: np.ndarray) -> float:
    """Microseconds of this thread on a core for one search."""
    started = time.thread_time()
    index.search(query[None], TIMED)
    return (time.thread_time() - started) * 1e6


def turned(documents: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both under the rotation that `funnel adapt` learns from the documents."""
    widths = default_widths(documents.shape[1], 64)
    sample = documents[np.random.default_rng(SEED).permutation(len(documents))[:LEARNED_FROM]]
    matrix = learn(np.asarray(sample), RotationSettings(widths))
    return documents @ matrix, queries @ matrix


def everything(arguments: argparse.Namespace) -> dict[str, Any]:
    """All codes on one collection and model."""
    faiss.omp_set_num_threads(1)
    case = load_case(arguments.data, arguments.collection, arguments.model, arguments.documents, arguments.queries)
    documents, queries = np.asarray(case.documents), case.queries
    if arguments.rotate:
        documents, queries = turned(documents, queries)
    truth = nearest(queries, documents)
    measured = []
    for code in CODES:
        if code.dims <= documents.shape[1]:
            measured.append(measure(code, documents, queries, truth))
            console.print(f"  {code.name}, {code.dims}", style="dim")
    return {
        "collection": case.name,
        "model": case.model,
        "rotated": arguments.rotate,
        "documents": len(documents),
        "queries": len(queries),
        "codes": measured,
    }


HEAD = ("code", "numbers", "bytes a row", *(f"recall in {n}" for n in SHORTLISTS))
HEAD += (*(f"shortlist for {wanted}" for wanted in WANTED), "search us", "build us a row")
NARROW = (0, 1, 2, 4, 7, 8, 9)  # columns that a terminal has room for


def cells(one: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    lengths = (f"over {DEEPEST:,}" if n is None else f"{n:,}" for n in one["shortlist"].values())
    recalls = (f"{value:.3f}" for value in one["recall"].values())
    times = f"{one['search_us']:,.0f}", f"{one['build_us_a_row']:.1f}"
    return one["code"], str(one["dims"]), str(one["bytes"]), *recalls, *lengths, *times


def page() -> Iterator[str]:
    """The tables of all stored results."""
    for path in sorted(RESULTS.glob("codes-*.json")):
        results = json.loads(path.read_text())
        how = ", rotated by `funnel adapt`" if results["rotated"] else ""
        yield f"### {results['collection']}, {results['model']}{how}: {results['documents']:,} rows"
        yield ""
        yield from table(HEAD, [cells(one) for one in results["codes"]])
        yield from source(results)


def show(results: dict[str, Any]) -> None:
    """The table that a terminal has room for."""
    shown = Table(
        *(HEAD[place] for place in NARROW), title=f"{results['collection']}, {results['model']}", title_justify="left"
    )
    for one in results["codes"]:
        shown.add_row(*(cells(one)[place] for place in NARROW))
    console.print(shown)


def main() -> None:
    """Parse arguments, measure, print, store; or write the page."""
    parser = options(__doc__, 2_000, "docs/codes.md")
    parser.add_argument("--rotate", action="store_true", help="under the rotation that `funnel adapt` learns")
    run(parser, lambda: fill(PAGE, BEGIN, END, page()), everything, show)


if __name__ == "__main__":
    main()

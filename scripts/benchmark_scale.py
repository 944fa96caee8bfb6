#!/usr/bin/env python3
"""One store from ten thousand rows to ten million: what ingest, restart, memory and every stage of a search cost.

Rows are synthetic from the start (perturbed mixtures of pairs of real vectors, or clusters without --data): this tells
of speed and memory, and its recall is that of these rows alone. They are made, written and compared with the queries
block by block, and stored nowhere else. At every size the store is closed and opened again by a new process, which
searches on one core, then with two threads on two.

    ./scripts/benchmark_scale.py --smoke
    ./scripts/benchmark_scale.py --data DATA --sizes 10000 100000 1000000 --out docs/results/scale-packed.json
    ./scripts/benchmark_scale.py --data DATA --sizes 1000000 10000000 --storage bfloat16 --memory-cap 8000
    ./scripts/benchmark_scale.py --data DATA --sizes 1000000 --prefix-dim 64 --index auto        the default's codes
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_data import clusters, mix, units
from benchmark_funnel import settle
from benchmark_memory import cpu_seconds, on_disk
from benchmark_scale_search import Order, searched
from best_rows import Top
from harness import console, store_results

from index.document import Document
from index.options import StoreOptions
from index.space import Space
from index.store import Store

BLOCK = 8_192  # rows made and written at a time
K = 10
MEGABYTE = 1_000_000


class Rows:
    """Blocks of unit rows without end, and the exact best K of those that were made for each query."""

    def __init__(self, data: Path | None, queries: int) -> None:
        """Real vectors that are mixed come from the folder of texts, clusters of 256 dimensions without one."""
        self._rng = np.random.default_rng(0)
        if data is None:
            self._real, asked = clusters(BLOCK, queries)
        else:
            from recall_collections import load_case  # late: brings the model

            case = load_case(data, "all", "bundled", None, None)
            self._real, asked = case.documents, case.queries[:queries]
        self.queries = units(np.asarray(asked))
        self.dim, self.made = self.queries.shape[1], 0
        self._top = Top(len(self.queries), K)

    @property
    def best(self) -> np.ndarray:
        """(q, K) rows, best first."""
        return self._top.rows

    def block(self, size: int) -> np.ndarray:
        """The next (size, dim) rows."""
        made = np.empty((size, self.dim), dtype=np.float32)
        mix(self._real, made, self._rng)
        self._top.add(self.made, self.queries @ made.T)
        self.made += size
        return made


def grown(rows: Rows, folder: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is found at every size."""
    options = StoreOptions(storage=arguments.storage, shortlist_index=arguments.index)
    space = Space(rows.dim, min(arguments.prefix_dim, rows.dim), {"model": "none"})
    for size in arguments.sizes:
        found = {"rows": size, "written": size - rows.made, **_written(rows, folder, space, options, size)}
        order = Order(folder, options, rows.queries, rows.best, arguments.shortlists)
        found |= {"disk_bytes": on_disk(folder), "free": searched(order, None)}
        if arguments.memory_cap and size == arguments.sizes[-1]:
            found["capped"] = searched(order, arguments.memory_cap * MEGABYTE)
        yield found


def _written(rows: Rows, folder: Path, space: Space, options: StoreOptions, size: int) -> dict[str, float]:
    """Seconds of writing alone, until no merge is due, and of the processor; making the rows does not count."""
    writing = computed = 0.0
    with Store.open(folder, space, options) as store:
        while rows.made < size:
            first, block = rows.made, rows.block(min(BLOCK, size - rows.made))
            documents = [Document(str(first + place), "-") for place in range(len(block))]
            began, used = time.perf_counter(), cpu_seconds()
            store.write(documents, dict(enumerate(block)))
            writing, computed = writing + time.perf_counter() - began, computed + cpu_seconds() - used
            _tell(rows.made, size, writing)
        began, used = time.perf_counter(), cpu_seconds()
        settle(store)
        merging, computed = time.perf_counter() - began, computed + cpu_seconds() - used
    return {"write_seconds": writing, "merge_seconds": merging, "cpu_seconds": computed}


def _tell(made: int, size: int, writing: float) -> None:
    if made % (64 * BLOCK) == 0 or made == size:
        console.print(f"  {made:,} of {size:,} rows, {writing:.0f} s of writing", style="dim", highlight=False)


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of texts, whose cached vectors are mixed")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="ascending")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--shortlists", type=int, nargs="+", default=[25, 50, 100, 200, 400, 800])
    parser.add_argument("--prefix-dim", type=int, default=256)
    parser.add_argument("--index", default="packed", help="shortlist_index of the store")
    parser.add_argument("--storage", default="float32", help="type of the full vectors")
    parser.add_argument("--memory-cap", type=int, help="megabytes: search the last size once more under this limit")
    parser.add_argument("--folder", type=Path, help="where the store is made; a temporary folder without")
    parser.add_argument("--smoke", action="store_true", help="3,000 rows of 256 numbers, some seconds")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    return parser.parse_args()


def main() -> None:
    """Grow, search, print, store."""
    arguments = parsed()
    if arguments.smoke:
        arguments.sizes, arguments.queries, arguments.shortlists, arguments.data = [1_000, 3_000], 50, [25, 100], None
    folder = Path(tempfile.mkdtemp(prefix="funnel-scale-", dir=arguments.folder))
    try:
        rows, found = Rows(arguments.data, arguments.queries), []
        for one in grown(rows, folder / "store", arguments):
            console.print(one, highlight=False)
            found.append(one)
            about = {name: getattr(arguments, name) for name in ("prefix_dim", "index", "storage")}
            about |= {"collection": "clusters" if arguments.data is None else "mixture", "dim": rows.dim, "k": K}
            store_results(arguments.out, {**about, "queries": len(rows.queries), "sizes": found})  # as far as it came
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Search systems side by side: same vectors, same machine, each in a process of its own, rounds interleaved.

Every system builds its index, is opened again from the disk in a new process, and is asked with a grid of settings. A
survey finds the settings worth repeating; then each round visits all systems in random order, so that a ratio compares
what was measured within minutes. Recall is against exact search, latency that of one thread on one core (served
systems have all cores), throughput that of two threads on two. docs/performance.md tells how to read it.

    ./scripts/benchmark.py --install                                        the peers, into .cache/peers (1.1 GB)
    ./scripts/benchmark.py --smoke                                          2,000 synthetic rows, ours against numpy
    ./scripts/benchmark.py --data DATA --collection debian --rows 20000 --out docs/results/benchmark-debian.json
    ./scripts/benchmark.py --data DATA --systems funnel hnswlib qdrant-edge-int8 --rounds 9
    ./scripts/benchmark.py --data DATA --cold --systems funnel lancedb-hnsw
    ./scripts/benchmark.py --data DATA --memory-cap 1000 --systems funnel lancedb-hnsw       under 1,000 MB
    ./scripts/benchmark.py --data DATA --prepare                            build; measure later, with --reuse
    ./scripts/benchmark.py --page                                           write docs/performance.md's tables and plots
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import benchmark_page
from benchmark_data import NAMES, Collection, Shape
from benchmark_run import Plan, Run
from benchmark_systems import LEFT_OUT, PEERS, SYSTEMS, chosen
from benchmark_tables import compared, show
from harness import console, store_results

REQUIREMENTS = Path(__file__).with_name("benchmark_peers.txt")
SMOKE = Shape("clusters", 2_000, 200, 400)
SMOKE_SYSTEMS = ["funnel", "numpy-exact", "numpy-funnel", "faiss-hnsw-16"]
MEGABYTE = 1_000_000


def install() -> None:
    """Make the environment of the peers; does again what was done before."""
    if not (PEERS / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    pip = [str(PEERS / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="make the environment of the peers")
    parser.add_argument("--list", action="store_true", help="name the systems and those left out")
    parser.add_argument("--page", action="store_true", help="write the page from docs/results/benchmark-*.json")
    parser.add_argument("--smoke", action="store_true", help="2,000 synthetic rows, few systems, less than a minute")
    parser.add_argument("--collection", choices=NAMES, default="bundled", help="see benchmark_data.py")
    parser.add_argument("--data", type=Path, help="folder of texts; their vectors are kept below .cache/vectors")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--calibration", type=int, default=2_000, help="queries for calibrations, never asked")
    parser.add_argument("--systems", nargs="+", default=[], help="by name; all of --list without")
    parser.add_argument("--k", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--per-round", type=int, default=250, help="queries of a setting in a round")
    parser.add_argument("--threads", type=int, default=2, help="cores of a build, and threads of the throughput")
    parser.add_argument("--cold", action="store_true", help="searches after the page cache was dropped, too")
    parser.add_argument("--memory-cap", type=int, help="megabytes for each system, page cache included")
    parser.add_argument("--prepare", action="store_true", help="build the indexes and measure nothing, for --reuse")
    parser.add_argument("--reuse", action="store_true", help="take indexes that were built before")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    return parser.parse_args()


def main() -> None:
    """Parse arguments; measure, print, store."""
    arguments = parsed()
    if arguments.install:
        install()
    elif arguments.list:
        for entry in SYSTEMS:
            console.print(f"{entry.name:26} {entry.kind:9} {entry.mode}", highlight=False)
        for name, reason in LEFT_OUT.items():
            console.print(f"{name:26} left out: {reason}", highlight=False)
    elif arguments.page:
        benchmark_page.write()
    else:
        store_results(arguments.out, measured(arguments))


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that a run finds, with its comparison."""
    if arguments.smoke:
        shape, entries = SMOKE, chosen(arguments.systems or SMOKE_SYSTEMS)
        plan = Plan(ks=(10,), rounds=3, per_round=50, throughput_seconds=0.1, threads=arguments.threads)
    else:
        shape = Shape(arguments.collection, arguments.rows, arguments.queries, arguments.calibration)
        entries = chosen(arguments.systems)
        plan = Plan(tuple(arguments.k), arguments.rounds, arguments.per_round, threads=arguments.threads)
    collection = Collection(shape, arguments.data)
    cap = arguments.memory_cap * MEGABYTE if arguments.memory_cap else None
    run = Run(collection, entries, plan, cap, arguments.reuse)
    if arguments.prepare:
        return {"collection": collection.describe(), **run.prepare()}
    found = run.everything(cold=arguments.cold or arguments.smoke)
    results = {"collection": collection.describe(), **found, "left_out": LEFT_OUT}
    results["compared"] = compared(results)
    show(results)
    return results


if __name__ == "__main__":
    main()

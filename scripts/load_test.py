#!/usr/bin/env python3
"""Load beyond what the server can do: is what it accepts answered soon, the rest refused, its memory flat?

Starts a real server, fills it, measures its capacity (a few clients, one request after the other), and then sends the
same mix of searches, reads and writes at 0.5, 1, 2 and 4 times that rate, in turns: requests arrive by the clock
(Poisson, seeded), whether or not earlier ones were answered, and a latency counts from the moment at which the request
was due. Compactions and snapshots run once in a while. Memory, open files and threads of the server are read every
second. Before that: the p99 of searches at a low rate alone, and beside an ingest at full speed.

The generator runs on the same machine: `generator_lag_p99_ms` says how late it was itself.

    ./scripts/load_test.py --seconds 600 --out docs/results/load.json
    ./scripts/load_test.py --model bundled --seconds 600 --documents 5000
    ./scripts/load_test.py --smoke       # 20 s, to see that it works
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from harness import Server, console, store_results
from load_client import NDJSON, Clients
from load_levels import CALM, capacity, ingest_beside_searches, levels
from load_watch import Watch
from load_work import DIM, PREFIX_DIM, Work
from rich.progress import Progress
from rich.table import Table

FILL = 500  # documents in a request
MULTIPLES = (0.5, 1.0, 2.0, 4.0)
BOUND_MS = 2_000.0  # of the p99 of what is accepted: some 256 requests may wait
GROWTH = 0.1  # share by which memory may differ between the first and the last third after the warm-up
SPARE = 24  # files and threads: those of a pool are made at their first use
RATIO = 3.0  # p99 of searches beside an ingest, as a multiple of their idle p99


def settings(directory: Path, model: str) -> dict[str, str]:
    """Of the server: the defaults, and a graph from the first thousand rows on, so that merges are part of the load."""
    chosen = {"FUNNEL_DATA_DIR": str(directory / "data"), "FUNNEL_MODEL": model, "FUNNEL_SHORTLIST_INDEX": "hnsw"}
    if model == "none":
        chosen |= {"FUNNEL_DIM": str(DIM), "FUNNEL_PREFIX_DIM": str(PREFIX_DIM)}
    return chosen


async def fill(clients: Clients, work: Work, documents: int, progress: Progress) -> None:
    """Store every id once."""
    task = progress.add_task("filling", total=documents)
    for start in range(0, documents, FILL):
        numbers = list(range(start, min(start + FILL, documents)))
        answer = await clients.ask("POST", "/ingest", work.lines(numbers), NDJSON)
        if answer.status != 200:
            raise RuntimeError(f"the server could not be filled: {answer.status} {answer.body[:500]!r}")
        progress.advance(task, len(numbers))


async def campaign(server: Server, arguments: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """All measurements, in their order: a fifth of the time before the levels."""
    clients, work = Clients(server.port), Work(arguments.seed, arguments.documents, arguments.model == "none")
    await fill(clients, work, arguments.documents, progress)
    part = min(arguments.seconds / 15, 60.0)
    found = await capacity(clients, work, part)
    rate = found["requests_per_second"]
    beside = await ingest_beside_searches(clients, work, CALM * rate, part, arguments.seed, progress)
    async with Watch(server) as watch:
        clients.close()
        await watch.rest()
        seconds = arguments.seconds - 3 * part
        measured, maintenance = await levels(clients, work, rate, MULTIPLES, seconds, arguments.seed, progress)
        clients.close()
        await watch.rest()
    return {
        "capacity": found,
        "searches_beside_an_ingest": beside,
        "levels": measured,
        "maintenance": maintenance,
        "server": watch.summary(),
    }


def kept(results: dict[str, Any]) -> dict[str, bool]:
    """What is promised, and whether it was kept."""
    measured, server = results["levels"], results["server"]
    memory, rest = server["anonymous_mib"], server["at_rest"]
    return {
        "nothing_but_503_is_refused_with": not any(level["other_errors"] for level in measured),
        "every_503_has_retry_after": not any(level["without_retry_after"] for level in measured),
        "p99_of_what_is_accepted_is_bounded": all(level["accepted_ms"]["p99"] <= BOUND_MS for level in measured),
        "memory_is_flat": memory["at_the_end"] <= (1 + GROWTH) * memory["after_warm_up"],
        "no_file_is_left_open": rest["files"][-1] <= rest["files"][0] + SPARE,
        "no_thread_is_left": rest["threads"][-1] <= rest["threads"][0] + SPARE,
        "an_ingest_slows_searches_at_most_3_times": results["searches_beside_an_ingest"]["p99_ratio"] <= RATIO,
    }


def show(results: dict[str, Any]) -> None:
    """The levels as a table, what is promised below it."""
    columns = ("times the capacity", "offered/s", "accepted/s", "p50 ms", "p99 ms", "503", "other errors", "lag p99 ms")
    table = Table(*columns)
    for level in results["levels"]:
        took = level["accepted_ms"]
        cells = (level["multiple"], level["offered_per_second"], level["accepted_per_second"], took["p50"], took["p99"])
        rest = (f"{level['refused_share']:.1%}", sum(level["other_errors"].values()), level["generator_lag_p99_ms"])
        table.add_row(*map(str, (*cells, *rest)))
    console.print(table)
    for promise, held in results["kept"].items():
        console.print(f"{'kept' if held else 'NOT KEPT'}: {promise.replace('_', ' ')}")


def main() -> None:
    """Parse arguments, run, print, store; the exit status is 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--model", default="none", help="FUNNEL_MODEL of the server; none sends vectors")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="20 s with 2,000 documents")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.seconds, arguments.documents = 20.0, 2_000
    with tempfile.TemporaryDirectory(prefix="funnel-load-") as directory, Progress(console=console) as progress:
        server = Server(settings(Path(directory), arguments.model), Path(directory) / "server.log")
        try:
            server.wait()
            results = uvloop.run(campaign(server, arguments, progress))
        finally:
            server.end()
    results = {"model": arguments.model, "documents": arguments.documents, "seed": arguments.seed, **results}
    results["kept"] = kept(results)
    show(results)
    store_results(arguments.out, results)
    sys.exit(0 if results["kept"]["nothing_but_503_is_refused_with"] else 1)


if __name__ == "__main__":
    main()

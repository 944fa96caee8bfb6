#!/usr/bin/env python3
"""Cold start: seconds from `funnel serve` to the first answer, and where they go, on a directory of a million rows.

Makes a directory of synthetic unit vectors (clusters with noise) with texts and metadata in .cache/start, or uses the
one that is there; its graph is saved, as any service does when it ends. Before each start the page
cache is dropped, of the directory or of everything. A start ends when the first searches, one with a filter, are
answered; how long its threads waited meanwhile for a core that other programs had is told beside it (0 on a machine
with nothing else to do). The steps are those of a second start in a process of its own, each timed by itself.

    ./scripts/benchmark_start.py --out docs/results/start.json
    ./scripts/benchmark_start.py --documents 3000 --dim 64 --repeat 1     # smoke
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_funnel import settle
from harness import Server, console, store_results
from rich.progress import track

from index.document import Document
from index.options import StoreOptions
from index.readahead import read_ahead
from index.space import Space
from index.store import Store

CACHE = Path(".cache/start")
PREFIX_DIM = 64
LOAD = 8_192  # documents written at a time
CLUSTERS = 4_096
KINDS = 100  # values of the metadata
GOAL = 5.0  # seconds
DROP = Path("/proc/sys/vm/drop_caches")
STEPS = {  # what is timed in the second start: module, name
    "documents opened": ("index.opening", "Documents"),
    "live rows read": ("index.opening", "live_mask"),
    "vectors mapped": ("index.opening", "VectorFile"),
    "graph loaded": ("index.opening", "load_snapshot"),
    "directory opened": ("index.store", "open_directory"),
}


def vectors_of(start: int, stop: int, dim: int) -> np.ndarray:
    """(n, dim) float32 vectors of these rows: a function of the rows."""
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, dim), dtype=np.float32)
    rng = np.random.default_rng([1, start])
    noise = rng.standard_normal((stop - start, dim), dtype=np.float32)
    return centres[rng.integers(CLUSTERS, size=stop - start)] + 0.5 * noise


def document(row: int) -> Document:
    """The document of a row, of about 400 bytes."""
    text = f"Document {row}. " + " ".join(f"word{(row * 31 + i * 7) % 9973}" for i in range(40))
    return Document(f"d{row:08}", text, metadata={"kind": f"k{row % KINDS}", "number": row, "even": row % 2 == 0})


def made(path: Path, documents: int, dim: int) -> None:
    """Fill a directory, unless it is there already."""
    if (path / "complete").exists():
        return
    space = Space(dim, min(PREFIX_DIM, dim), {"model": "none"})
    with Store.open(path, space, StoreOptions()) as store:
        have = store.view.rows
        for start in track(range(have, documents, LOAD), "filling", console=console, disable=not console.is_terminal):
            stop = min(start + LOAD, documents)
            units = dict(enumerate(vectors_of(start, stop, dim)))
            store.write([document(row) for row in range(start, stop)], units)
        settle(store)
    (path / "complete").touch()


def drop_cache(path: Path, everything: bool) -> str:
    """Make the next start read from the disk; says how that was done. Raises OSError when it may not."""
    os.sync()
    if everything:
        DROP.write_text("3\n")
        return f"echo 3 > {DROP}"
    for file in filter(Path.is_file, path.rglob("*")):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return "posix_fadvise(DONTNEED) on each file of the directory; the packages stay in memory"


def settings(path: Path, dim: int) -> dict[str, str]:
    """Of the server."""
    return {
        "FUNNEL_DATA_DIR": str(path),
        "FUNNEL_MODEL": "none",
        "FUNNEL_DIM": str(dim),
        "FUNNEL_PREFIX_DIM": str(min(PREFIX_DIM, dim)),
        "FUNNEL_AUTO_CALIBRATE": "0",
    }


def first_answer(path: Path, dim: int, log: Path) -> dict[str, float]:
    """Seconds from the start of the process to the first searches, and what the server holds in memory then."""
    began = time.perf_counter()
    server = Server(settings(path, dim), log)
    query = vectors_of(0, 1, dim)[0].tolist()
    try:
        server.wait()
        ready = time.perf_counter() - began
        for name, body in (("search", {"vector": query}), ("filtered", {"vector": query, "filter": {"kind": "k7"}})):
            answer = server.client.post("/search", json={**body, "with_text": True})
            answer.raise_for_status()
            assert answer.json()["results"], name
        answered, memory = time.perf_counter() - began, server.memory()["anonymous"]
        return {"ready": ready, "answered": answered, "waited": waited(server.process.pid), "bytes": memory}
    finally:
        server.end()


def waited(process: int) -> float:
    """Seconds that its threads were ready to run and had no core."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks) / 1e9


def timed(name: str, call: Callable[..., Any], taken: dict[str, float]) -> Callable[..., Any]:
    """The same call, whose seconds are added to `taken`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            taken[name] = taken.get(name, 0.0) + time.perf_counter() - began

    return run


def steps(path: Path, dim: int) -> dict[str, float]:
    """Seconds of each step of an opening in this process, the imports first."""
    taken: dict[str, float] = {}
    read_ahead(path)
    timed("imports", lambda: __import__("app.main"), taken)()
    for name, (module, attribute) in STEPS.items():
        __import__(module)
        setattr(sys.modules[module], attribute, timed(name, getattr(sys.modules[module], attribute), taken))
    space = Space(dim, min(PREFIX_DIM, dim), {"model": "none"})
    store = timed("store opened", Store.open, taken)(path, space, StoreOptions())
    from index.query import Query

    timed("first search", store.search, taken)(vectors_of(0, 1, dim)[0], Query())
    timed("first filtered search", store.search, taken)(vectors_of(0, 1, dim)[0], Query(filter={"kind": "k7"}))
    store.close()
    return {name: round(seconds, 3) for name, seconds in taken.items()}


def starts(path: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One cold start after the other."""
    for _ in range(arguments.repeat):
        how = drop_cache(path, arguments.drop_everything)
        cold = first_answer(path, arguments.dim, path.parent / "server.log")
        drop_cache(path, arguments.drop_everything)
        command = [sys.executable, __file__, "--steps", "--documents", str(arguments.documents)]
        command += ["--dim", str(arguments.dim), "--cache", str(arguments.cache)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        yield {
            "ready_seconds": round(cold["ready"], 2),
            "first_answers_seconds": round(cold["answered"], 2),
            "of_which_waiting_for_a_core": round(cold["waited"], 2),
            "anonymous_bytes": cold["bytes"],
            "steps": json.loads(done.stdout),
            "cache_dropped_by": how,
        }


def main() -> None:
    """Parse arguments, make the directory, start, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the directories that are made")
    everything = "drop the page cache of the whole machine, packages included (root); else only of the directory"
    parser.add_argument("--drop-everything", action="store_true", help=everything)
    parser.add_argument("--steps", action="store_true", help="only time the steps of one opening, and print them")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    path = arguments.cache / f"{arguments.documents}-{arguments.dim}"
    if arguments.steps:
        print(json.dumps(steps(path, arguments.dim)))
        return
    made(path, arguments.documents, arguments.dim)
    measured = list(starts(path, arguments))
    worst = max(start["first_answers_seconds"] for start in measured)
    console.print_json(data=measured)
    results = {"documents": arguments.documents, "dim": arguments.dim, "vectors": "synthetic", "starts": measured}
    store_results(arguments.out, {**results, "slowest_seconds": worst, "goal_seconds": GOAL})
    console.print(f"slowest of {len(measured)} cold starts: {worst:.2f} s to the first answers, the goal is {GOAL:g} s")


if __name__ == "__main__":
    main()

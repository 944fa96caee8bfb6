#!/usr/bin/env python3
"""Let the system under a store fail, at every call and in every way, and look for what the store lost or got wrong.

Each fault is a process of its own (scripts/fault_phase.py) that writes, merges, rotates, makes snapshots, compacts,
and opens the store again whenever it became read-only. Then the directory is opened without any fault: everything
acknowledged is there with its text and vector, what was refused as "no space left" is not, nothing is half there.

    ./scripts/fault_test.py --faults 100                 of each kind
    ./scripts/fault_test.py --faults 40 --kind disk-full --seed 7
    ./scripts/fault_test.py --faults 200 --out docs/results/faults.json

Kinds: inject (a system call fails, by strace, once or from then on), read-only (every writing call fails from some
call on, as after the kernel's own remount), disk-full (a small tmpfs), short-write (RLIMIT_FSIZE: the write that
crosses the limit is short, the next fails), out-of-memory (RLIMIT_AS). A kind that cannot be made here is left out,
and the results say why.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fault_kinds
from fault_kinds import Fault
from harness import console, store_results
from power_record import folder_in_memory
from rich.progress import track

SMALLEST_FILE, SMALLEST_MEMORY = 3_000, 24  # bytes, KiB
KINDS: dict[str, Callable[[int, int], Iterator[Fault]]] = {
    "inject": fault_kinds.injected,
    "read-only": fault_kinds.read_only,
    "disk-full": fault_kinds.full_disk,
    "short-write": lambda count, seed: fault_kinds.short_writes(spread(SMALLEST_FILE, 200_000, count)),
    "out-of-memory": lambda count, seed: fault_kinds.out_of_memory(spread(SMALLEST_MEMORY, 2_000, count)),
}


def spread(first: int, last: int, count: int) -> list[int]:
    """`count` numbers between two, each so many times the one before."""
    return [round(first * (last / first) ** (place / max(count - 1, 1))) for place in range(count)]


def campaign(kind: str, count: int, seed: int, workers: int = 2) -> dict[str, Any]:
    """So many faults of a kind: their counts, and under `wrong` what must not be; or why they were left out."""
    if reason := fault_kinds.impossible(kind):
        return {"left_out": reason}
    counts: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    with folder_in_memory() as folder, ThreadPoolExecutor(workers) as pool:
        faults = list(KINDS[kind](count, seed))
        runs = pool.map(lambda place: _run(faults[place], Path(folder) / str(place)), range(len(faults)))
        for fault, about in zip(faults, track(runs, kind, len(faults), console=console), strict=True):
            counts.update({name: number for name, number in about.items() if isinstance(number, int)})
            if "error" in about:
                wrong[fault.name] = about["error"]
    return {"runs": len(faults), **counts, "wrong": wrong}


def _run(fault: Fault, folder: Path) -> dict[str, Any]:
    try:
        return fault_kinds.run(fault, folder)
    finally:
        fault_kinds.clear(folder)


def main() -> None:
    """Parse arguments, inject, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=50, help="processes of each kind")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind; may be given again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="store the counts as JSON")
    arguments = parser.parse_args()
    started, kinds = time.monotonic(), {}
    for kind in arguments.kind or KINDS:
        kinds[kind] = campaign(kind, arguments.faults, arguments.seed, arguments.workers)
        for name, error in kinds[kind].get("wrong", {}).items():
            console.print(f"WRONG after {kind} {name}: {error}", style="bold red", markup=False)
    results = {"seed": arguments.seed, "kinds": kinds, "seconds": round(time.monotonic() - started)}
    console.print_json(data=results)
    store_results(arguments.out, results)
    sys.exit(1 if any(about.get("wrong") for about in kinds.values()) else 0)


if __name__ == "__main__":
    main()

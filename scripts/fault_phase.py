#!/usr/bin/env python3
"""A store that is used while the system under it fails: the process that scripts/fault_test.py injects faults into.

Writes, merges, rotates, maps queries, calibrates, makes snapshots and compacts. What is refused stays as it was; a
store that became read-only is opened again. Ends with 0 when all was done, or when the store says clearly that it
cannot be opened; with 1 and a traceback when anything happened that should not.

    ./scripts/fault_phase.py /tmp/data /tmp/log
    ./scripts/fault_phase.py /mnt/data /tmp/log --ballast /mnt/fill
                             lets that file grow until hardly anything is free, again and again
"""

import argparse
import json
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
from store_phases import (
    calibrate,
    compact,
    drop_snapshot,
    make_snapshot,
    map_queries,
    rotate,
    settle,
    shrink_constants,
)
from store_promises import Log
from store_workload import CannotOpen, Run, write_meanwhile

STACK = 1 << 19  # bytes of a thread: 8 MiB of address space each would be what runs out first
ROOM = (0, 4, 8, 12, 16, 24, 32, 64, 128, 2_048)  # KiB left free


class Ballast:
    """A file that takes what is free on a disk but for a little, which is another little before each call."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self.path, self.random, self.squeezes = path, Random(seed), path is not None
        self._lock = threading.Lock()

    def squeeze(self) -> None:
        """Before a call: now and then, leave a little."""
        with self._lock:
            if self.path is None or not self.squeezes or self.random.random() < 0.5:
                return
            self.path.unlink(missing_ok=True)
            found = os.statvfs(self.path.parent)
            size = found.f_bavail * found.f_bsize - (self.random.choice(ROOM) << 10)
            with suppress(OSError), self.path.open("wb") as file:  # the store may have taken the room meanwhile
                os.posix_fallocate(file.fileno(), 0, max(size, 1))

    def drop(self) -> None:
        """The disk was full: all of it is free again."""
        with self._lock:
            if self.path is not None:
                self.path.unlink(missing_ok=True)


def work(run: Run, scale: int) -> None:
    """Everything that changes a store; whether it was done or refused."""
    write_meanwhile(run, 2 * scale, 2, lambda: rotate(run, 1))
    map_queries(run, 2)
    if scale > 1:
        calibrate(run, 1)
    write_meanwhile(run, scale, 3, lambda: make_snapshot(run, "one"))
    compact(run)
    write_meanwhile(run, scale, 4, lambda: rotate(run, None))
    drop_snapshot(run, "one")
    settle(run)


def take_buffers() -> None:
    """OpenBLAS takes a buffer for each thread at its first use, and ends the process when it cannot."""
    square = np.ones((700, 700), dtype=np.float32)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: np.linalg.inv(square + np.eye(700, dtype=np.float32)) @ square, range(32)))


def limit_memory(more: int | None) -> None:
    """So many bytes of address space more than now, or as many as one likes."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft = resource.RLIM_INFINITY if more is None else now + more
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))


def everything(arguments: argparse.Namespace) -> dict[str, int]:
    """Use a store, close it, and open it again with nothing in the way of a full disk or memory any more."""
    ballast = Ballast(arguments.ballast, arguments.seed)
    run = Run(arguments.data, Log(arguments.log), "one", before=ballast.squeeze, when_full=ballast.drop)
    write_meanwhile(run, 3 * arguments.scale, 1)
    if arguments.memory:
        take_buffers()
        limit_memory(arguments.memory)
    work(run, arguments.scale)
    run.close()
    limit_memory(None)
    ballast.squeezes = False
    ballast.drop()
    again = Run(arguments.data, run.log, "one")
    write_meanwhile(again, 1, 9)
    again.close()
    if again.refused and arguments.ballast:
        raise AssertionError(f"{again.refused} calls were refused although there is room again")
    return {"finished": 1, "refused": run.refused, "unknown": run.unknown + again.unknown}


def main() -> None:
    """Parse arguments, use the store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("log", type=Path, help="what was called and acknowledged is added to this file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=int, default=1, help="how much is written; above 1 a calibration is made, too")
    parser.add_argument("--ballast", type=Path, help="a file on the same disk, to fill it")
    parser.add_argument("--file-size", type=int, help="no file may grow beyond so many bytes (RLIMIT_FSIZE)")
    parser.add_argument("--memory", type=int, help="so many more bytes of address space (RLIMIT_AS), after a while")
    arguments = parser.parse_args()
    shrink_constants()
    threading.stack_size(STACK)
    if arguments.file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.file_size, resource.RLIM_INFINITY))
    try:
        counts = everything(arguments)
    except CannotOpen as error:
        counts = {"could_not_open": 1}
        print(json.dumps({"said": str(error)}))
    print(json.dumps(counts), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

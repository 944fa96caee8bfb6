"""The process of one system under test: obeys lines of JSON on its input, answers with lines on its output.

    python scripts/benchmark_worker.py MODULE:CLASS '{"option": 1}'

Started by benchmark_process.py, with the Python of the system's environment. What libraries print goes to stderr.
"""

import json
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_memory import cpu_seconds, peak, read_bytes, resident
from benchmark_system import System

WARM_UP = 20  # searches before those that count
PATIENCE = 60.0  # seconds for the first search of each thread
LARGE = 8_000_000_000  # bytes of vectors that are given to a build as a memory map


class Worker:
    """Holds the system; a method for every order."""

    def __init__(self, system: System) -> None:
        self._system, self._ended = system, False
        self._queries = np.empty((0, 0), dtype=np.float32)
        self._before = {"anonymous": 0, "file": 0}

    def build(self, vectors: str, calibration: str, folder: str, threads: int) -> dict[str, Any]:
        """Make the index; seconds without the reading of the vectors, unless they are LARGE.

        `cpu_seconds` are all of the processor's, which other work on the machine stretches less.
        """
        self._system.load()
        mapped = "r" if Path(vectors).stat().st_size > LARGE else None
        given, asked = np.load(vectors, mmap_mode=mapped, allow_pickle=False), np.load(calibration, allow_pickle=False)
        began, computed = time.perf_counter(), cpu_seconds()
        self._system.build(given, Path(folder), threads)
        built, computed = time.perf_counter(), cpu_seconds() - computed
        self._system.tune(asked, Path(folder))
        tuned = {"tuning_seconds": time.perf_counter() - built}
        return {"seconds": built - began, "cpu_seconds": computed, **tuned, "peak_bytes": peak(), "threads": threads}

    def open(self, folder: str, queries: str) -> dict[str, Any]:
        """Read the index from the disk."""
        self._queries = np.load(queries, allow_pickle=False)
        self._system.load()
        self._before = resident([os.getpid()])
        began, read = time.perf_counter(), read_bytes([os.getpid()])
        self._system.open(Path(folder))
        seconds = time.perf_counter() - began
        versions = {name: version(name) for name in self._system.packages}
        return {"seconds": seconds, "versions": versions, "read_bytes": read_bytes(self._all()) - read}

    def settings(self, k: int) -> list[dict[str, Any]]:
        """The grid."""
        return self._system.settings(k)

    def pin(self, cores: list[int]) -> None:
        """Let all threads there are, and those to come, run on these cores alone."""
        for process in self._all():
            for task in Path(f"/proc/{process}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores)

    def measure(
        self, k: int, setting: dict[str, Any], first: int, number: int, limit: float, out: str
    ) -> dict[str, Any]:
        """Ask queries one after the other until `limit` seconds are over; saves rows and nanoseconds.

        The first searches, which fill caches, do not count. Returns the share of the time that this thread was ready to
        run and had no core (0 on a machine with nothing else to do), and the mean milliseconds of a system's stages.
        """
        search = self._system.searcher(k, setting)
        prepared = [self._system.prepare(query) for query in self._asked(first, number)]
        for query in prepared[: min(WARM_UP, number)]:
            search(query)
        waited, began = _waited(), time.perf_counter_ns()
        taken, found = self._timed(search, prepared, limit)
        waited = min(1.0, (_waited() - waited) / (time.perf_counter_ns() - began))
        np.savez(out, rows=self._rows(found, k), nanoseconds=np.array(taken))
        told = [self._system.stages(answer) for answer in found]
        return {"waited": waited, "stages": {name: float(np.mean([one[name] for one in told])) for name in told[0]}}

    def cold(self, k: int, setting: dict[str, Any], number: int, out: str) -> dict[str, Any]:
        """The first queries after `open`, none before them; bytes read from the device for them."""
        search = self._system.searcher(k, setting)
        prepared = [self._system.prepare(query) for query in self._asked(0, number)]
        read = read_bytes(self._all())
        taken, found = self._timed(search, prepared, float("inf"))
        np.savez(out, rows=self._rows(found, k), nanoseconds=np.array(taken))
        return {"read_bytes": read_bytes(self._all()) - read}

    def throughput(self, k: int, setting: dict[str, Any], threads: int, seconds: float) -> float:
        """Searches a second of so many threads that ask at the same time."""
        search = self._system.searcher(k, setting)
        parts = [[self._system.prepare(query) for query in self._queries[place::threads]] for place in range(threads)]
        done, ready = [0] * threads, threading.Barrier(threads + 1, timeout=PATIENCE)

        def ask(place: int) -> None:
            mine = parts[place]
            search(mine[0])  # a connection of its own
            ready.wait()
            while not ended.is_set():
                search(mine[done[place] % len(mine)])
                done[place] += 1

        ended = threading.Event()
        with ThreadPoolExecutor(threads) as pool:
            running = [pool.submit(ask, place) for place in range(threads)]
            ready.wait()
            began = time.perf_counter()
            time.sleep(seconds)
            total, took = sum(done), time.perf_counter() - began
            ended.set()
            for one in running:
                one.result()  # raises what a search raised
        return total / took

    def memory(self) -> dict[str, int]:
        """Resident bytes beyond those of the process with its libraries; a server's own, all of them."""
        mine = resident([os.getpid()])
        beyond = {name: mine[name] - self._before[name] for name in mine}
        others = resident(self._system.processes()) if self._system.processes() else None
        return others if others is not None else beyond

    def end(self) -> None:
        """Close the system; once."""
        if not self._ended:
            self._ended = True
            self._system.close()

    def _all(self) -> list[int]:
        return [os.getpid(), *self._system.processes()]

    def _asked(self, first: int, number: int) -> np.ndarray:
        return self._queries[np.arange(first, first + number) % len(self._queries)]

    def _timed(self, search: Any, prepared: list[Any], limit: float) -> tuple[list[int], list[Any]]:
        taken: list[int] = []
        found: list[Any] = []
        clock, end = time.perf_counter_ns, time.perf_counter_ns() + limit * 1e9
        for query in prepared:
            began = clock()
            answer = search(query)
            after = clock()
            taken.append(after - began)
            found.append(answer)
            if after > end:
                break
        return taken, found

    def _rows(self, found: list[Any], k: int) -> np.ndarray:
        """(q, k) int64 row numbers, -1 where a system answered with fewer."""
        table = np.full((len(found), k), -1, dtype=np.int64)
        for place, answer in enumerate(found):
            rows = list(self._system.rows(answer))[:k]
            table[place, : len(rows)] = rows
        return table


def _waited() -> float:
    """Nanoseconds that this thread waited for a core so far."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1])


def main() -> None:
    """Make the system, obey until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not answer for us
    module, name = sys.argv[1].split(":")
    worker = Worker(getattr(import_module(module), name)(**json.loads(sys.argv[2])))
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"answer": getattr(worker, order.pop("do"))(**order)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
    worker.end()  # whoever gave orders is gone: leave no server behind


if __name__ == "__main__":
    main()

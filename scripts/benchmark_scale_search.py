"""The searching side of benchmark_scale.py: a process of its own, in a control group where memory is capped."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_memory import capped, drop, resident

from index.options import StoreOptions
from index.query import Answer, Query
from index.store import Store

ASKED_SECONDS = 0.5  # of the throughput of two threads
STAGES = ("shortlist", "rerank", "documents")


@dataclass(frozen=True)
class Order:
    """A store, (q, dim) float32 queries, their exact best (q, k) rows, and the shortlists to ask with."""

    folder: Path
    options: StoreOptions
    queries: np.ndarray
    best: np.ndarray
    shortlists: list[int]


def searched(order: Order, cap: int | None) -> dict[str, Any]:
    """What a new process finds, under a limit of `cap` bytes of memory with nothing in the page cache, if one is given.

    Raises NoCap where the machine lets us limit none.
    """
    if cap is not None:
        drop(order.folder)
    with capped(cap) if cap is not None else nullcontext() as group:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_searched, args=(order, group, theirs))
        process.start()
        theirs.close()
        try:
            found: dict[str, Any] = mine.recv()
        except EOFError:
            found = {"failed": "the process ended: its memory is not enough"}
        process.join()
    return found if cap is None else {"cap_bytes": cap, **found}


def _searched(order: Order, group: Path | None, connection: Any) -> None:
    if group is not None:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    before, began = resident([os.getpid()]), time.perf_counter()
    with Store.open(order.folder, None, order.options) as store:
        opened = time.perf_counter() - began
        settings = [_asked(store, order, shortlist, cores[-2:]) for shortlist in order.shortlists]
        after, stats = resident([os.getpid()]), store.stats()
    memory = {name: after[name] - before[name] for name in after}
    connection.send({"open_seconds": opened, "memory": memory, "shortlist": stats["shortlist"], "settings": settings})


def _asked(store: Store, order: Order, shortlist: int, cores: list[int]) -> dict[str, Any]:
    query = Query(limit=order.best.shape[1], shortlist=shortlist, with_text=False, with_metadata=False)
    for vector in order.queries:  # its pages, once
        store.search(vector, query)
    taken, answers = [], []
    for vector in order.queries:
        began = time.perf_counter()
        answers.append(store.search(vector, query)[0])
        taken.append((time.perf_counter() - began) * 1e3)
    stages = {name: float(np.mean([answer.timing_ms[name] for answer in answers])) for name in STAGES}
    return {
        "shortlist": shortlist,
        "recall": float(np.mean([_recall(answer, best) for answer, best in zip(answers, order.best, strict=True)])),
        "p50_ms": float(np.median(taken)),
        "p99_ms": float(np.percentile(taken, 99)),
        "stages_ms": {**stages, "rest": float(np.mean(taken)) - sum(stages.values())},
        "searches_a_second": _throughput(store, query, order.queries, cores),
    }


def _recall(answer: Answer, best: np.ndarray) -> float:
    return len({int(hit.doc_id) for hit in answer.hits} & set(best.tolist())) / len(best)


def _throughput(store: Store, query: Query, queries: np.ndarray, cores: list[int]) -> float:
    """Searches a second of a thread for each core."""
    ended = threading.Event()

    def ask(first: int) -> int:
        os.sched_setaffinity(0, cores)
        done = 0
        while not ended.is_set():
            store.search(queries[(first + done) % len(queries)], query)
            done += 1
        return done

    with ThreadPoolExecutor(len(cores)) as pool:
        began = time.perf_counter()
        running = [pool.submit(ask, place * len(queries) // len(cores)) for place in range(len(cores))]
        time.sleep(ASKED_SECONDS)
        ended.set()
        total = sum(one.result() for one in running)
        return total / (time.perf_counter() - began)

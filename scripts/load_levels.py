"""The measurements of the load test: capacity, searches beside an ingest, an open loop at several rates."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from load_client import NDJSON, Answer, Clients
from load_work import Asked, Work
from rich.progress import Progress

CLOSED = 16  # clients that measure the capacity
TURN = 20.0  # seconds at one rate before the next
CALM = 0.2  # of the capacity: what "idle" means for the searches beside an ingest
INGESTED = 500  # documents in one request of the ingest at full speed
FINE = (200, 207, 404)  # 404: a document that another client has deleted
MAINTENANCE = (("/compact", 30.0), ("/snapshots", 45.0))  # and the seconds between two


@dataclass
class Tally:
    """What became of the requests at one rate."""

    seconds: float = 0.0
    taken: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # kind -> (due, seconds) of accepted ones
    refused: list[float] = field(default_factory=list)  # seconds of refusals
    lags: list[float] = field(default_factory=list)  # seconds by which the generator was late
    errors: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0

    def note(self, asked: Asked, answer: Answer, due: float, took: float) -> None:
        """One answer."""
        if answer.status in FINE:
            self.taken.setdefault(asked.kind, []).append((due, took))
        elif answer.status == 503:
            self.refused.append(took)
            self.without_retry_after += "retry-after" not in answer.headers
        else:
            self.errors[f"{asked.kind}: {answer.status} {answer.body[:200]!r}"] += 1

    def summary(self) -> dict[str, Any]:
        """Counts, and latencies in milliseconds."""
        accepted = sorted(pair for pairs in self.taken.values() for pair in pairs)
        everything = len(accepted) + len(self.refused) + self.errors.total()
        half = len(accepted) // 2
        return {
            "seconds": round(self.seconds, 1),
            "requests": everything,
            "accepted_per_second": round(len(accepted) / max(self.seconds, 1e-9), 1),
            "refused_share": round(len(self.refused) / max(everything, 1), 4),
            "without_retry_after": self.without_retry_after,
            "other_errors": dict(self.errors.most_common(10)),
            "accepted_ms": milliseconds([took for _, took in accepted]),
            "accepted_p99_ms_by_half": [
                milliseconds([took for _, took in part])["p99"] for part in (accepted[:half], accepted[half:])
            ],
            "refused_ms": milliseconds(self.refused),
            "by_kind_ms": {kind: milliseconds([took for _, took in pairs]) for kind, pairs in self.taken.items()},
            "generator_lag_p99_ms": milliseconds(self.lags)["p99"],
        }


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the longest."""
    values = np.array(seconds or [0.0]) * 1e3
    p50, p99, longest = np.percentile(values, [50, 99, 100])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(longest), 2)}


async def capacity(clients: Clients, work: Work, seconds: float) -> dict[str, float]:
    """Requests a second when each client waits for its answer before it asks again."""
    tally, until = Tally(), time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < until:
            await one(clients, tally, work.draw(), time.perf_counter())

    await asyncio.gather(*(client() for _ in range(CLOSED)))
    done = sum(map(len, tally.taken.values()))
    if tally.errors or not done:
        raise RuntimeError(f"the mix does not work: {dict(tally.errors) or 'nothing was answered'}")
    return {"clients": CLOSED, "requests_per_second": round(done / seconds, 1), "seconds": seconds}


async def one(clients: Clients, tally: Tally, asked: Asked, due: float) -> None:
    """Send a request that is due and note what becomes of it; its latency counts from `due`."""
    tally.lags.append(time.perf_counter() - due)
    try:
        answer = await clients.ask(asked.method, asked.path, asked.body, asked.content_type)
    except (OSError, TimeoutError) as error:
        tally.errors[f"{asked.kind}: {type(error).__name__} {error}"] += 1
    else:
        tally.note(asked, answer, due, time.perf_counter() - due)


async def open_loop(
    clients: Clients, tally: Tally, draw: Callable[[], Asked], rate: float, seconds: float, seed: str
) -> None:
    """Requests at `rate` a second, each sent when it is due, whatever became of those before it."""
    rng, began = random.Random(seed), time.perf_counter()
    due, running = began, set[asyncio.Task[None]]()
    while (due := due + rng.expovariate(rate)) < began + seconds:
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(clients, tally, draw(), due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    tally.seconds += time.perf_counter() - began


async def levels(
    clients: Clients, work: Work, capacity: float, multiples: Sequence[float], seconds: float, seed: int,
    progress: Progress,
) -> tuple[list[dict[str, Any]], dict[str, int]]:  # fmt: skip
    """The mix at each multiple of the capacity, in turns, with compactions and snapshots beside it, and how often
    these were answered, by status."""
    tallies = {multiple: Tally() for multiple in multiples}
    turns = max(1, round(seconds / TURN / len(multiples)))
    each = seconds / turns / len(multiples)
    done = Counter[str]()
    maintenance = asyncio.create_task(maintain(clients, done))
    task = progress.add_task("load", total=turns * len(multiples))
    for turn in range(turns):
        for multiple, tally in tallies.items():
            progress.update(task, description=f"load, {multiple:g} times the capacity")
            await open_loop(clients, tally, work.draw, capacity * multiple, each, f"{seed}/{turn}/{multiple}")
            progress.advance(task)
    maintenance.cancel()
    with suppress(asyncio.CancelledError):
        await maintenance
    measured = [
        {"multiple": m, "offered_per_second": round(m * capacity, 1), **t.summary()} for m, t in tallies.items()
    ]
    return measured, dict(done)


async def maintain(clients: Clients, done: Counter[str]) -> None:
    """Compact and make snapshots once in a while, and delete each snapshot again; counts the answers."""

    async def again(path: str, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            try:
                answer = await clients.ask("POST", path, b"{}" if path == "/snapshots" else b"")
                done[f"{path} {answer.status}"] += 1
                if path == "/snapshots" and answer.status == 200:
                    gone = await clients.ask("DELETE", f"/snapshots/{answer.json()['name']}")
                    done[f"deleted {gone.status}"] += 1
            except (OSError, TimeoutError) as error:
                done[f"{path} {type(error).__name__}"] += 1

    await asyncio.gather(*(again(path, pause) for path, pause in MAINTENANCE))


async def ingest_beside_searches(
    clients: Clients, work: Work, rate: float, seconds: float, seed: int, progress: Progress
) -> dict[str, Any]:
    """Latencies of searches at a low rate, alone and while one client ingests as fast as it can."""
    alone, beside, stop = Tally(), Tally(), asyncio.Event()
    task = progress.add_task("searches beside an ingest", total=2)
    await open_loop(clients, alone, lambda: work.one("search"), rate, seconds, f"{seed}/alone")
    progress.advance(task)
    ingesting = asyncio.create_task(ingest(clients, work, stop))
    await open_loop(clients, beside, lambda: work.one("search"), rate, seconds, f"{seed}/beside")
    stop.set()
    stored = await ingesting
    progress.advance(task)
    idle, busy = alone.summary(), beside.summary()
    return {
        "searches_per_second": rate,
        "documents_per_second": round(stored / beside.seconds, 1),
        "alone_ms": idle["accepted_ms"],
        "beside_ms": busy["accepted_ms"],
        "p99_ratio": round(busy["accepted_ms"]["p99"] / max(idle["accepted_ms"]["p99"], 1e-9), 2),
        "refused_share": busy["refused_share"],
        "other_errors": idle["other_errors"] | busy["other_errors"],
    }


async def ingest(clients: Clients, work: Work, stop: asyncio.Event) -> int:
    """One request after the other, each a new version of some documents; returns the number of documents stored."""
    stored = 0
    while not stop.is_set():
        answer = await clients.ask("POST", "/ingest", work.lines(work.numbers(INGESTED)), NDJSON)
        if answer.status != 200:
            raise RuntimeError(f"an ingest failed: {answer.status} {answer.body[:500]!r}")
        stored += INGESTED
    return stored

"""The clients of the crash test that keep the index in order meanwhile: rotations, compactions, snapshots.

Each asks for progress, so that a kill can be aimed at the work: `begun` is set at its first line.
"""

import base64
import json
import threading
import time
from typing import Any

import httpx
import numpy as np
from crash_clients import NDJSON, UntilKilled, checked
from crash_known import Lost, Moment

BUSY = 409  # one work at a time
PAUSE = 0.2  # seconds between works, at most
KEPT = 3  # snapshots
PURGED = 0.2  # of the compactions delete snapshots


class Upkeep(UntilKilled):
    """One client that starts long work again and again."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.begun, self.working = threading.Event(), False

    def work(self, client: httpx.Client, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        """The summary of some work, or None when another one was going on."""
        summary: dict[str, Any] = {}
        headers = {"accept": NDJSON["content-type"], "content-type": "application/json"}
        with client.stream(method, path, headers=headers, **more) as answer:
            if answer.status_code == BUSY:
                return None
            if answer.status_code != 200:
                raise Lost(f"{path} answered {answer.status_code}: {answer.read()[:500]!r}")
            self.working = True
            for line in answer.iter_lines():
                self.begun.set()
                summary = json.loads(line)
            self.working = False
        if summary.get("type") != "summary" or summary["status"] not in (200, BUSY):
            raise Lost(f"{method} {path} ended with {summary}")
        return summary if summary["status"] == 200 else None

    def pause(self) -> None:
        """So that not all time goes into this."""
        self.begun.clear()
        time.sleep(self.random.uniform(0, PAUSE))


class Rotating(Upkeep):
    """Random rotations, and their undoing."""

    what = "rotations"

    def step(self, client: httpx.Client) -> None:
        """One rotation. Several may be in force while it is under way, one of them after the answer."""
        name = None if self.random.random() < 0.3 else f"r{self.random.randrange(1 << 30)}"
        rotations = self.known.rotations
        before = set(rotations)
        rotations.add(name)
        if name is None:
            summary = self.work(client, "DELETE", "/rotation")
        else:
            info = checked(client.get("/info")).json()
            summary = self.work(client, "PUT", "/rotation", json=rotation_body(name, info["dim"], info["prefix_dim"]))
        rotations.intersection_update(before if summary is None else {name})
        self.pause()


class Compacting(Upkeep):
    """Compactions; what they may not change is seen by everybody else."""

    what = "compactions"

    def step(self, client: httpx.Client) -> None:
        """One compaction, which now and then deletes the snapshots that hold what it erased."""
        self.known.purging = self.random.random() < PURGED
        summary = self.work(client, "POST", "/compact", params={"purge_snapshots": self.known.purging})
        if summary is not None:
            self.answered(summary)
        self.known.purging = False
        self.pause()

    def answered(self, summary: dict[str, Any]) -> None:
        """What the answer says of itself."""
        if summary["purged_snapshots"]:
            self.known.purge(summary["snapshots_with_erased_rows"])
        if summary["erased"] > summary["rows_before"]:
            raise Lost(f"a compaction erased more rows than there were: {summary}")


class Snapshotting(Upkeep):
    """Snapshots, of which the oldest are deleted again."""

    what = "snapshots"
    asked: Moment | None = None  # when a snapshot was asked for that has not been answered

    def step(self, client: httpx.Client) -> None:
        """One snapshot."""
        name = f"s{self.random.randrange(1 << 60)}"
        self.asked = self.known.moment()
        summary = self.work(client, "POST", "/snapshots", json={"name": name})
        if summary is not None:
            self.known.keep(name, self.known.since(self.asked))
        self.asked = None
        while len(self.known.snapshots) > KEPT:
            self.delete(client)
        self.pause()

    def delete(self, client: httpx.Client) -> None:
        """Delete the oldest, which may be there until that is answered."""
        name, self.known.unanswered = self.known.oldest()
        answer = client.delete(f"/snapshots/{name}")
        purged = answer.status_code == 404 and (self.known.purging or name in self.known.purged)
        if answer.status_code != 200 and not purged:
            raise Lost(f"deleting snapshot {name} was answered with {answer.status_code}: {answer.text[:500]}")
        self.known.unanswered = None

    def finish(self) -> None:
        """A snapshot that was not answered may be there."""
        super().finish()
        if self.asked is not None:
            self.known.unanswered = self.known.since(self.asked)


def matrix_of(name: str, dim: int) -> np.ndarray:
    """A random rotation (dim, dim) float32, a function of its name."""
    square = np.random.default_rng(list(name.encode())).standard_normal((dim, dim))
    return np.linalg.qr(square)[0].astype("<f4")


def rotation_body(name: str, dim: int, prefix_dim: int) -> dict[str, Any]:
    """The body of a random rotation."""
    matrix = base64.b64encode(matrix_of(name, dim).tobytes()).decode()
    return {"matrix": matrix, "widths": [prefix_dim], "method": name}

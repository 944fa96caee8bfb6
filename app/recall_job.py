"""One run of the recall measurement, from its request to its result."""

import secrets
import time
from threading import Event
from typing import Any

from app.recall_requests import RecallRequest


class Cancelled(Exception):
    """The run was given up; nothing was changed."""


class Job:
    """States: waiting -> running -> done | cancelled | failed. Written by one thread, read by any."""

    def __init__(self, request: RecallRequest, reason: str | None = None) -> None:
        """`reason` says why the service started it by itself; None when somebody asked for it."""
        self.id, self.request, self.reason = secrets.token_hex(4), request, reason
        self.seed = secrets.randbelow(1 << 31) if request.seed is None else request.seed
        self.state, self.phase = "waiting", "waiting"
        self.done = self.total = 0
        self.error: str | None = None
        self.result: dict[str, Any] | None = None
        self.cancelled, self.ended = Event(), Event()
        self._began = time.monotonic()
        self._phases: dict[str, float] = {}  # seconds of each

    def at(self, phase: str, done: int, total: int) -> None:
        """What is being done; raises Cancelled when that is no longer wanted."""
        if phase != self.phase:
            self._timed()
            self.state, self.phase = "running", phase
        self.done, self.total = done, total
        if self.cancelled.is_set():
            raise Cancelled

    def end(self, state: str, result: dict[str, Any] | None = None, error: str | None = None) -> None:
        """How it came out."""
        self._timed()
        if result is not None:
            self.result = result | {"seconds": {name: round(took, 2) for name, took in self._phases.items()}}
        self.error = error
        self.request = self.request.model_copy(update={"queries": None, "vectors": None})  # which may be large
        self.state = self.phase = state
        self.ended.set()

    def body(self) -> dict[str, Any]:
        """As GET /recall tells it."""
        seconds = sum(self._phases.values()) + (0.0 if self.ended.is_set() else time.monotonic() - self._began)
        return {
            "id": self.id,
            "state": self.state,
            "automatic": self.reason,
            "phase": self.phase,
            "done": self.done,
            "total": self.total,
            "fraction": round(self.done / self.total, 4) if self.total else 0.0,
            "seconds": round(seconds, 2),
            "error": self.error,
            "result": self.result,
        }

    def _timed(self) -> None:
        now = time.monotonic()
        self._phases[self.phase] = self._phases.get(self.phase, 0.0) + now - self._began
        self._began = now

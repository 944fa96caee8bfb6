"""What became of the documents of one ingest."""

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

from app.problems import PROBLEMS, Problem, Refused, problem_of

MAX_FAILURES = 1_000  # listed; the rest is counted
COUNTS = ("received", "created", "updated", "unchanged", "failed", "superseded", "truncated")
Place = Literal["index", "line"]


@dataclass
class Report:
    """Counts and failures, filled while an ingest runs. `place` says how documents are numbered."""

    place: Place
    received: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    superseded: int = 0
    truncated: int = 0
    seen: int = 0  # the place of the last document, or line, that was read
    processed: int = 0  # everything up to this place is durable, or has failed
    failures: list[dict[str, Any]] = field(default_factory=list)
    stopped: Exception | None = None  # what ended the ingest early
    arrived: asyncio.Event = field(default_factory=asyncio.Event)  # set when the whole body was read
    started: float = field(default_factory=perf_counter)

    def fail(self, place: int, doc_id: str | None, problem: Problem, detail: str, pointer: str = "") -> None:
        """Count a document that is not stored."""
        self.failed += 1
        if len(self.failures) >= MAX_FAILURES:
            return
        prefix = f"/documents/{place}" if self.place == "index" else ""
        self.failures.append(
            {
                self.place: place,
                "id": doc_id,
                "type": problem.type,
                "pointer": prefix + pointer,
                "detail": detail,
            }
        )

    def fail_with(self, place: int, doc_id: str | None, error: Exception) -> None:
        """Count a document that an error kept out."""
        entries = error.errors if isinstance(error, Refused) else []
        where = entries[0]["pointer"] if entries else ""
        self.fail(place, doc_id, problem_of(error), entries[0]["detail"] if entries else str(error), where)

    def count(self, outcome: str, truncated: bool) -> None:
        """Count a document that is stored: created, updated or unchanged."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        self.truncated += truncated

    @property
    def status(self) -> int:
        """200 all stored, 207 some, 422 none because of content; another one when the ingest was stopped."""
        if self.stopped is not None:
            return problem_of(self.stopped).status
        if not self.failed:
            return 200
        return 207 if self.created or self.updated or self.unchanged else 422

    @property
    def problem(self) -> Problem | None:
        """The problem of an ingest that is not even a partial success."""
        if self.stopped is not None:
            return problem_of(self.stopped)
        return PROBLEMS["none-stored"] if self.status == 422 else None

    @property
    def detail(self) -> str:
        """What the problem says."""
        if self.stopped is not None:
            return str(self.stopped)
        return f"{self.failed} of {self.received} documents cannot be stored, and no other was"

    def counts(self) -> dict[str, int]:
        """The counts so far."""
        return {name: getattr(self, name) for name in COUNTS}

    def progress(self) -> dict[str, Any]:
        """A progress line."""
        return {"type": "progress", "processed": self.processed, **self.counts()}

    def body(self) -> dict[str, Any]:
        """Counts and failures of the finished ingest."""
        return {
            **self.counts(),
            "failures": self.failures,
            "failures_omitted": self.failed - len(self.failures),
            "took_ms": round((perf_counter() - self.started) * 1e3, 3),
        }

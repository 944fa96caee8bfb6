"""A long ingest as many short requests: how documents are cut into them, and how their answers add up."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from app.client_errors import ProblemError, Unreachable

CHUNK_DOCUMENTS = 500  # the service goes on with a request that Ctrl-C ends: seconds of work, not minutes
CHUNK_BYTES = 8 << 20
STORED_OR_REFUSED = (200, 207, 422)  # statuses of a summary after which the next chunk makes sense


@dataclass(frozen=True)
class Failure:
    """A document that was not stored; `position` counts the documents of the ingest from 1."""

    position: int
    id: str | None
    type: str
    detail: str


@dataclass(frozen=True)
class Totals:
    """What became of the documents so far; those `processed` are durable and searchable, or have failed."""

    processed: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    superseded: int = 0
    truncated: int = 0
    failures: tuple[Failure, ...] = field(default=(), repr=False)

    @property
    def stored(self) -> int:
        """Documents that are durable and searchable."""
        return self.created + self.updated + self.unchanged

    def plus(self, event: Mapping[str, Any]) -> "Totals":
        """These totals and the counts of a progress or summary line of the next chunk."""
        counts = {f.name: getattr(self, f.name) + event[f.name] for f in fields(self) if f.name != "failures"}
        new = tuple(self._failure(f) for f in event.get("failures", ()))
        return Totals(**counts, failures=self.failures + new)

    def _failure(self, failure: Mapping[str, Any]) -> Failure:
        return Failure(self.processed + failure["line"], failure["id"], failure["type"], failure["detail"])


def chunks(documents: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """The documents as NDJSON bodies of at most 500 documents and about 8 MiB."""
    lines: list[bytes] = []
    size = 0
    for document in documents:
        lines.append(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        size += len(lines[-1])
        if len(lines) >= CHUNK_DOCUMENTS or size >= CHUNK_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)


async def events(lines: AsyncIterable[str]) -> AsyncIterator[dict[str, Any]]:
    """The progress lines of a streamed answer, and its summary last.

    Raises ProblemError when the summary tells one, with the counts among its members; Unreachable when there is no
    summary.
    """
    async for line in lines:
        event = json.loads(line)
        if event["type"] == "summary":
            if event["status"] not in STORED_OR_REFUSED:
                problem = event.get("problem") or {"type": "about:blank", "title": "the ingest failed"}
                raise ProblemError({**event, **problem})
            yield event
            return
        yield event
    raise Unreachable("the service broke off in the middle of an ingest")

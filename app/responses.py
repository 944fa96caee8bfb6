"""The shapes of the answers, for the OpenAPI document and for tests; the service builds plain dicts."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """An answer has these members and no others."""

    model_config = ConfigDict(extra="forbid")


class Failure(Shape):
    """A document that was not stored; `index` counts from 0 in a JSON body, `line` from 1 in NDJSON."""

    index: int | None = None
    line: int | None = None
    id: str | None
    type: str
    pointer: str
    detail: str


class IngestCounts(Shape):
    """Documents received = created + updated + unchanged + failed + superseded."""

    received: int
    created: int
    updated: int
    unchanged: int
    failed: int
    superseded: int  # replaced by a later one with the same id before it was stored
    truncated: int  # stored, but longer than the model reads


class IngestResponse(IngestCounts):
    """What became of the documents; only failures are listed, and at most 1,000 of them."""

    status: Literal[200, 207]
    failures: list[Failure]
    failures_omitted: int
    took_ms: float


class Progress(IngestCounts):
    """A line of a streamed answer: up to line `processed` all is durable and searchable, or has failed."""

    type: Literal["progress"]
    processed: int


class Summary(IngestCounts):
    """The last line of a streamed answer; without it the ingest did not finish."""

    type: Literal["summary"]
    status: int
    processed: int
    failures: list[Failure]
    failures_omitted: int
    took_ms: float
    problem: dict[str, Any] | None = None


class DocumentShape(Shape):
    """A stored document; members that were not asked for are absent."""

    id: str
    title: str | None = None
    text: str | None = None
    metadata: dict[str, Any] | None = None
    vector: list[float] | None = None


class Patched(Shape):
    """What a patch did."""

    id: str
    status: Literal["updated", "unchanged"]
    truncated: bool


class Deleted(Shape):
    """How many documents were deleted."""

    deleted: int


class Counted(Shape):
    """How many documents match."""

    count: int


class Page(Shape):
    """A page of documents; `next` is null on the last one."""

    documents: list[DocumentShape]
    next: str | None


class ErrorItem(Shape):
    """Where the request is wrong: a JSON pointer into the body, or a parameter of the address."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ProblemShape(BaseModel):
    """RFC 9457. `type` is an address of this service that explains the problem."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[ErrorItem] | None = None


class Model(Shape):
    """The model that embeds."""

    name: str
    revision: str | None
    matryoshka_dims: list[int]
    max_tokens: int | None


class Rotated(Shape):
    """The rotation of the prefixes, and the widths that it was learned for."""

    method: str
    widths: list[int]


class Info(Shape):
    """What only a rotation changes while the service runs; `model` is null when documents bring their vectors."""

    name: str
    version: str
    model: Model | None
    dim: int
    prefix_dim: int
    exact_only: bool
    rotation: Rotated | None
    fingerprint: str
    fingerprint_of: dict[str, Any]
    storage: str
    row_bytes: int  # of a full vector on disk
    notice: str | None
    capabilities: list[str]
    limits: dict[str, int]


class Status(Shape):
    """A health check that passed."""

    status: str

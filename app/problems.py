"""Errors as RFC 9457 problems: one table from errors to problems, one handler for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.access_headers import HEADERS
from app.busy import Busy, RecallBusy, ShuttingDown, Stalled
from index import errors

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")
MAX_ERRORS = 100  # of one request, so that an answer stays small


@dataclass(frozen=True)
class Problem:
    """A kind of error; its `type` is a stable relative URL that answers with `meaning`."""

    slug: str
    status: int
    title: str
    meaning: str

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}"

    def members(self, detail: str) -> dict[str, Any]:
        """What RFC 9457 names."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": detail}


PROBLEMS = {
    problem.slug: problem
    for problem in (
        Problem("malformed-json", 400, "The body is not JSON", "Send UTF-8 JSON without NaN or Infinity."),
        Problem("malformed-arrow", 400, "The body is no Arrow stream", "Send record batches in the IPC stream format."),
        Problem("malformed-request", 400, "The request is not HTTP", "Neither address nor headers could be read."),
        Problem("unauthorized", 401, "A key is needed", "Send one that this service knows; see SECURITY.md."),
        Problem("forbidden", 403, "The key may not do this", "The detail names the right that is missing."),
        Problem("cross-site", 403, "Pages of other sites may not ask", "FUNNEL_CORS_ORIGINS lists those that may."),
        Problem("not-found", 404, "There is nothing at this address", "See /docs for the addresses."),
        Problem("document-not-found", 404, "There is no such document", "No stored document has the id."),
        Problem("method-not-allowed", 405, "The address has no such method", "See the Allow header."),
        Problem("upload-stalled", 408, "The body stopped arriving", "What is stored stays; send the rest."),
        Problem("head-stalled", 408, "The head stopped arriving", "Address and headers come in one go."),
        Problem("snapshot-not-found", 404, "There is no such snapshot", "GET /snapshots lists those there are."),
        Problem("document-exists", 409, "The document exists already", "insert_only never replaces one."),
        Problem(
            "fingerprint-mismatch",
            409,
            "The index holds vectors of another model",
            "Vectors of two embedding spaces cannot be compared; GET /info names the index's own one.",
        ),
        Problem("maintenance-busy", 409, "The index is being worked on", "The detail names the work; one at a time."),
        Problem("snapshot-busy", 409, "A snapshot is being made", "One at a time; try again when it is done."),
        Problem("snapshot-exists", 409, "The name is taken", "Choose another one, or delete that snapshot."),
        Problem("recall-busy", 409, "Recall is being measured", "One run at a time; wait for it, or cancel it."),
        Problem("write-conflict", 409, "The document keeps changing", "Others write it too; try again."),
        Problem(
            "body-too-large",
            413,
            "The body is too large",
            "Send fewer documents, or NDJSON to /ingest, whose bodies may have any length.",
        ),
        Problem("unsupported-media-type", 415, "The content type is not accepted", "The detail names it."),
        Problem("misdirected", 421, "The service has another name", "Without a key it answers to loopback names."),
        Problem("range-not-satisfiable", 416, "There are no such bytes", "The header Range asks for none of the file."),
        Problem("validation", 422, "The request is not valid", "`errors` points at what has to change."),
        Problem("invalid-vector", 422, "A vector cannot be used", "Its length, or a number in it, is wrong."),
        Problem("invalid-filter", 422, "The filter cannot be used", "An operator or its operand is wrong."),
        Problem("invalid-plan", 422, "The funnel cannot be this wide", "The detail has both numbers."),
        Problem("invalid-document", 422, "The document cannot be stored", "The detail says why."),
        Problem("limit-exceeded", 422, "A limit of the service is exceeded", "GET /info lists the limits."),
        Problem("no-model", 422, "This service has no model", "Documents and queries have to bring vectors."),
        Problem("none-stored", 422, "None of the documents was stored", "`failures` says why, for each."),
        Problem("rate-limited", 429, "Too many requests", "Try again after Retry-After seconds."),
        Problem("head-too-large", 431, "Address and headers are too large", "The detail has both limits."),
        Problem("client-closed", 499, "The client went away", "What was committed before stays."),
        Problem("internal", 500, "Something went wrong here", "The log has more under the request id."),
        Problem(
            "store-corrupt",
            500,
            "Stored bytes are damaged",
            "Stop the service; run `funnel verify`, then `funnel repair`.",
        ),
        Problem("queue-full", 503, "Too many requests are waiting", "Try again after Retry-After seconds."),
        Problem(
            "store-unavailable",
            503,
            "The store refuses this now",
            "It is closed, read-only after an I/O error, or locked by another process.",
        ),
        Problem("words-busy", 503, "The words are being indexed", "The detail has both numbers; try again."),
        Problem("not-ready", 503, "The service is not ready", "The model or the index does not answer yet."),
        Problem("shutting-down", 503, "The service shuts down", "It will be back after its restart."),
        Problem("timeout", 504, "The time ran out", "Nothing could be answered within timeout_ms."),
        Problem("storage-full", 507, "The disk is full", "Nothing more was stored; free some space."),
    )
}

BY_ERROR: Mapping[type[Exception], str] = {
    errors.InvalidVector: "invalid-vector",
    errors.InvalidFilter: "invalid-filter",
    errors.InvalidPlan: "invalid-plan",
    errors.InvalidDocument: "invalid-document",
    errors.InvalidInput: "validation",
    errors.DocumentNotFound: "document-not-found",
    errors.DocumentExists: "document-exists",
    errors.FingerprintMismatch: "fingerprint-mismatch",
    errors.MaintenanceBusy: "maintenance-busy",
    errors.SnapshotBusy: "snapshot-busy",
    errors.SnapshotExists: "snapshot-exists",
    errors.SnapshotNotFound: "snapshot-not-found",
    errors.SearchTimeout: "timeout",
    errors.WordsBusy: "words-busy",
    errors.StorageFull: "storage-full",
    errors.StoreUnavailable: "store-unavailable",
    errors.StoreCorrupt: "store-corrupt",
    errors.ViewGone: "store-unavailable",
    Busy: "queue-full",
    RecallBusy: "recall-busy",
    Stalled: "upload-stalled",
    ShuttingDown: "shutting-down",
    ClientDisconnect: "client-closed",
}

BY_STATUS = {
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}


class Refused(Exception):
    """A request is answered with a problem of the table."""

    def __init__(self, slug: str, detail: str, errors: Sequence[Mapping[str, str]] = (), **members: Any) -> None:
        super().__init__(detail)
        self.problem, self.errors, self.members = PROBLEMS[slug], errors, members


FORESEEN: tuple[type[Exception], ...] = (*BY_ERROR, Refused)  # what else is raised is a defect, and a 500


def problem_of(error: BaseException) -> Problem:
    """The row of the table for an error; `internal` for one that has none."""
    if isinstance(error, Refused):
        return error.problem
    if isinstance(error, HTTPException):
        return PROBLEMS[BY_STATUS.get(error.status_code, "internal")]
    slugs = (BY_ERROR[kind] for kind in type(error).__mro__ if kind in BY_ERROR)
    return PROBLEMS[next(slugs, "internal")]


def pointer(*path: str | int) -> str:
    """A JSON pointer (RFC 6901); the empty path points at the whole body."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def respond(
    request: Request,
    problem: Problem,
    detail: str,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer: what every problem has, and `members` that extend it."""
    request_id = request.state.request_id
    body = {**problem.members(detail), "request_id": request_id, **(members or {})}
    if request.scope["path"].startswith("/v1/"):
        body["error"] = {"message": detail}  # where OpenAI's clients look
    answer = Response(to_json(body), problem.status, {"x-request-id": request_id, **(headers or {})}, MEDIA_TYPE)
    for name, value in HEADERS.items():  # an answer to an unforeseen error passes no middleware
        answer.headers.setdefault(name, value)
    return answer


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""
    for kind in (*FORESEEN, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, handle)


async def handle(request: Request, error: Exception) -> Response:
    """The one exception handler."""
    refused = _of_parameters(error) if isinstance(error, RequestValidationError) else error
    problem = problem_of(refused)
    members: dict[str, Any] = {}
    if isinstance(refused, Refused):
        members = {**refused.members, **({"errors": refused.errors[:MAX_ERRORS]} if refused.errors else {})}
    return respond(request, problem, _detail(problem, refused), members, _headers(request, problem, refused))


def _detail(problem: Problem, error: BaseException) -> str:
    if problem.slug in ("internal", "not-found", "method-not-allowed", "client-closed"):
        return problem.meaning  # never the text of an unforeseen error
    return str(error)


def _headers(request: Request, problem: Problem, error: BaseException) -> dict[str, str]:
    if problem.slug == "method-not-allowed":
        return {"allow": ", ".join(_allowed(request))}
    if isinstance(error, HTTPException):
        return dict(error.headers or {})
    if isinstance(error, Busy):
        return {"retry-after": str(error.retry_after)}
    return {"retry-after": "5"} if problem.status == 503 else {}


def _allowed(request: Request) -> list[str]:
    """All methods of an address; the framework names only those of the first route that it has there."""
    return sorted(
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )


def _of_parameters(error: RequestValidationError) -> Refused:
    found = [{"parameter": str(item["loc"][-1]), "detail": str(item["msg"])} for item in error.errors()]
    return Refused("validation", "a parameter of the address is not valid", found)

"""POST /ingest."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from app.answers import json_answer
from app.body import ARROW, JSON, NDJSON, STREAMS, require
from app.intake import Intake
from app.openapi import body_of, problems_of, reference
from app.problems import Refused, respond
from app.progress import ProgressStream
from app.report import Report
from app.requests import DocumentBody, IngestRequest
from app.responses import IngestResponse, Summary
from app.service import ServiceDep
from index.errors import FingerprintMismatch

router = APIRouter(tags=["ingest"])
Mode = Literal["upsert", "insert_only", "update_only"]
EXAMPLES = {
    "two documents": {
        "value": {
            "documents": [
                {"id": "a", "text": "Perl regular expressions", "metadata": {"section": "perl"}},
                {"id": "b", "title": "Sorting", "text": "sort a list in place"},
            ]
        }
    }
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All documents are stored; or the stream of progress lines, which ends with a summary",
        "content": {NDJSON: {"schema": reference(Summary)}},
    },
    207: {"model": IngestResponse, "description": "Some documents are stored, the failures are listed"},
    **problems_of(400, 404, 408, 409, 413, 415, 422, 503, 507),
}


async def slot(service: ServiceDep) -> AsyncIterator[None]:
    """Hold one of the places of ingests at work until the answer is sent; Busy (503) when all are taken."""
    with service.ingests.one():
        yield


@router.post(
    "/ingest",
    summary="Store documents",
    response_model=IngestResponse,
    responses=ANSWERS,
    openapi_extra=body_of({JSON: IngestRequest, NDJSON: DocumentBody, ARROW: None}, EXAMPLES),
    dependencies=[Depends(slot)],
)
async def ingest_documents(
    request: Request,
    service: ServiceDep,
    mode: Annotated[Mode, Query(description="What to do with ids that are, or are not, stored.")] = "upsert",
    atomic: Annotated[bool, Query(description="Store all documents or none; JSON only.")] = False,
    fingerprint: Annotated[str | None, Query(description="Refuse unless the index has this one.")] = None,
) -> Response:
    """Embed and store documents; what has not changed is not embedded again. A document that the answer counts
    as created, updated or unchanged is on disk and searchable.

    `application/x-ndjson` takes one document a line, in a body of any length, stored in batches as it arrives.
    `application/vnd.apache.arrow.stream` takes the same documents as record batches, the quick way for those with
    vectors: columns `id`, `text`, `title`, `metadata` (JSON texts or structs) and `vector` (lists of floats), at most
    32 MiB each and not compressed. Rows are counted from 1, as lines.
    With `Accept: application/x-ndjson` the answer has progress lines, for what is committed and while it takes
    long, and ends with a summary that has the status; an answer without a summary is a failure.
    """
    kind = require(request, JSON, NDJSON, ARROW)
    own = service.store.space.fingerprint_id
    if fingerprint not in (None, own):
        raise FingerprintMismatch(f"the index has the fingerprint {own}, the request expects another one")
    if atomic and kind in STREAMS:
        entry = {"parameter": "atomic", "detail": f"only with {JSON}: a stream is stored as it arrives"}
        raise Refused("validation", entry["detail"], [entry])
    intake = Intake(request, service, kind, mode, atomic)
    if NDJSON in request.headers.get("accept", ""):
        return ProgressStream(intake.run, intake.report)
    await intake.run(lambda: None)
    return _answer(request, intake.report)


def _answer(request: Request, report: Report) -> Response:
    if report.problem is None:
        return json_answer({"status": report.status, **report.body()}, report.status)
    retry = {"retry-after": "5"} if report.problem.status == 503 else {}
    return respond(request, report.problem, report.detail, report.body(), retry)

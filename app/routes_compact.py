"""Compaction: dead rows are erased while searches and writes go on."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.applying import Applying, applied
from app.body import JSON, decode, read, require, validate
from app.compact_requests import CompactRequest
from app.compact_responses import Compacted
from app.openapi import problems_of, reference
from app.service import ServiceDep
from index.progress import Progress

router = APIRouter(tags=["service"])
MAX_BODY = 4_096


@router.post(
    "/compact",
    summary="Erase what was deleted",
    response_model=Compacted,
    responses=problems_of(400, 409, 413, 415, 422, 500, 503, 507),
    openapi_extra={"requestBody": {"content": {JSON: {"schema": reference(CompactRequest)}}}},
)
async def compact(
    request: Request,
    service: ServiceDep,
    purge_snapshots: Annotated[
        bool, Query(description="Delete the snapshots that hold erased rows, once these are erased here.")
    ] = False,
) -> Response:
    """Write the live rows again without the dead ones. When it is answered, no file of the index holds a byte of a
    text, of metadata or of a vector that was deleted or replaced before the request, and the disk space is back.
    Searches and writes go on, and find the same.

    Needs free disk space for a copy of what is live (507 with both numbers). With `Accept: application/x-ndjson` the
    answer has progress lines and a summary at the end; a client that goes away before the end has changed nothing.
    """
    require(request, JSON)
    if body := await read(request, MAX_BODY):
        validate(CompactRequest, decode(body))
    store = service.store

    def work(progress: Progress) -> dict[str, Any]:
        answer = store.compact(progress)
        if purge_snapshots:
            store.snapshots.purge(answer["snapshots_with_erased_rows"])
        return {**answer, "purged_snapshots": purge_snapshots}

    return await applied(request, Applying(service, work, "steps"))

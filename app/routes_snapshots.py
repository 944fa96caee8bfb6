"""Snapshots: make one while everything goes on, list, download and delete them."""

import os
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from app.answers import json_answer
from app.applying import Applying, applied
from app.body import JSON, read_json
from app.openapi import body_of, problems_of
from app.problems import Refused
from app.service import ServiceDep
from app.snapshot_requests import SnapshotRequest
from app.snapshot_responses import Snapshot, SnapshotDeleted, Snapshots
from index.errors import SnapshotNotFound

router = APIRouter(prefix="/snapshots", tags=["snapshots"])
MAX_BODY = 4_096  # bytes of a name in JSON
MEDIA_TYPE = "application/x-tar"
FILE: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
PARTIAL = {"description": "The bytes of the header Range.", **FILE}


Name = Annotated[str, Path(description="As in the list.")]


@router.post(
    "",
    summary="Make a snapshot",
    response_model=Snapshot,
    responses=problems_of(400, 409, 413, 415, 422, 500, 503, 507),
    openapi_extra=body_of({JSON: SnapshotRequest}, {"named by the time": {"value": {}}}),
)
async def make_snapshot(request: Request, service: ServiceDep) -> Response:
    """Write everything, as it is at one commit, into one file with checksums; searches and writes go on. The answer
    comes when the file is durable. It stays in the data directory: download it to keep it anywhere else.

    Needs free disk space for it (507 with both numbers). With `Accept: application/x-ndjson` the answer has progress
    lines and a summary at the end; of a snapshot whose client goes away before the end nothing stays.
    """
    body = await read_json(request, SnapshotRequest, MAX_BODY)
    return await applied(request, Applying(service, partial(service.store.snapshots.make, name=body.name), "bytes"))


@router.get("", summary="List snapshots", response_model=Snapshots, responses=problems_of(503))
async def list_snapshots(service: ServiceDep) -> Response:
    """All snapshots in the data directory, the oldest first; files that cannot be read come with the reason."""
    return json_answer({"snapshots": await service.calls.run(service.store.snapshots.list)})


@router.get(
    "/{name}",
    summary="Download a snapshot",
    response_class=Response,
    responses={200: FILE, 206: PARTIAL, **problems_of(404, 416, 503)},
)
async def get_snapshot(name: Name, service: ServiceDep) -> Response:
    """The file: an uncompressed tar, whose SHA256SUMS `sha256sum -c` checks and `funnel restore` opens. A download that
    broke off can be continued by the headers Range and If-Range."""
    path = await service.calls.run(service.store.snapshots.path, name)
    return SnapshotFile(path)


@router.delete("/{name}", summary="Delete a snapshot", response_model=SnapshotDeleted, responses=problems_of(404, 503))
async def delete_snapshot(name: Name, service: ServiceDep) -> Response:
    """Delete one, durably."""
    await service.writes.run(service.store.snapshots.delete, name)
    return json_answer({"deleted": 1})


class SnapshotFile(FileResponse):
    """The file as a download; a range that cannot be is told as other problems are."""

    def __init__(self, path: FilePath) -> None:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise SnapshotNotFound(f"there is no snapshot {path.stem!r} any more") from None
        super().__init__(path, media_type=MEDIA_TYPE, filename=path.name, stat_result=status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or raise Refused before anything was sent."""

        async def checked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                size = self.headers["content-length"]
                raise Refused("range-not-satisfiable", f"the header Range asks for what is not in {size} bytes")
            await send(message)

        await super().__call__(scope, receive, checked)

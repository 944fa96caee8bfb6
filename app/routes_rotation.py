"""The rotation of the prefixes and the map of the queries: what is in force, applying, undoing."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.answers import json_answer
from app.applying import Applying, applied
from app.body import read_json
from app.matrix_requests import QueryMapRequest, RotationRequest
from app.matrix_responses import Matrices
from app.openapi import body_of, problems_of
from app.problems import Refused
from app.service import Service, ServiceDep
from index.progress import Progress
from index.rotation import QueryMap, Rotation
from index.sampling import blocks, drawn
from index.store import Store

router = APIRouter(tags=["rotation"])
MIB = 1 << 20
MAX_SAMPLE_BYTES = 512 * MIB
PIECE = MIB  # of a sample, sent at a time
IDENTITY = "AACAPwAAAAAAAAAAAACAPw=="  # [[1, 0], [0, 1]]
ROTATIONS = {"of two numbers": {"value": {"matrix": IDENTITY, "widths": [1], "method": "pca", "measured": {}}}}
NUMBERS: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
MAPS = {"of two numbers": {"value": {"matrix": IDENTITY, "measured": {"ndcg@10": [0.41, 0.44]}}}}


@router.get("/rotation", summary="Rotation and query map", response_model=Matrices, responses=problems_of(503))
async def get_rotation(service: ServiceDep) -> Response:
    """What is in force, as in `/stats`; null where there is none."""
    return json_answer(await service.calls.run(_matrices, service.store))


@router.put(
    "/rotation",
    summary="Rotate the prefixes",
    response_model=Matrices,
    responses=problems_of(400, 409, 413, 415, 422, 503, 507),
    openapi_extra=body_of({"application/json": RotationRequest}, ROTATIONS),
)
async def put_rotation(request: Request, service: ServiceDep) -> Response:
    """Make all prefixes again from the stored vectors under an orthogonal matrix, and swap them in; searches and
    writes go on. Scores and exact results stay as they are, to the bit. The answer comes when it is done; nothing
    happens when the very same is in force.

    With `Accept: application/x-ndjson` the answer has progress lines and a summary at the end; a client that goes
    away before the end has changed nothing.
    """
    body = await read_json(request, RotationRequest, _limit(service))
    return await _applied(request, service, Rotation(body.matrix, tuple(body.widths), body.method, body.measured))


@router.delete("/rotation", summary="Undo the rotation", response_model=Matrices, responses=problems_of(409, 503, 507))
async def delete_rotation(request: Request, service: ServiceDep) -> Response:
    """Make all prefixes again without a rotation; nothing happens when there is none."""
    return await _applied(request, service, None)


@router.put(
    "/query-map",
    summary="Map the queries",
    response_model=Matrices,
    responses=problems_of(400, 413, 415, 422, 503, 507),
    openapi_extra=body_of({"application/json": QueryMapRequest}, MAPS),
)
async def put_query_map(request: Request, service: ServiceDep) -> Response:
    """Multiply every query vector by a matrix before anything else; scores change, stored vectors do not. A search
    by the id of a document does not use it."""
    body = await read_json(request, QueryMapRequest, _limit(service))
    return json_answer(await service.writes.run(_mapped, service, QueryMap(body.matrix, body.measured)))


@router.delete("/query-map", summary="Remove the query map", response_model=Matrices, responses=problems_of(503, 507))
async def delete_query_map(service: ServiceDep) -> Response:
    """Queries are used as they are again."""
    return json_answer(await service.writes.run(_mapped, service, None))


@router.get(
    "/rotation/matrix",
    summary="Matrix of the rotation",
    response_class=Response,
    responses={200: NUMBERS, **problems_of(503)},
)
async def get_rotation_matrix(service: ServiceDep) -> Response:
    """Little-endian float32, row by row; the headers `x-rows` and `x-dim` tell the shape, no rows where there is no
    rotation."""
    rotation = service.store.rotation
    return _rows(None if rotation is None else rotation.matrix, service.store.space.dim)


@router.get(
    "/query-map/matrix",
    summary="Matrix of the query map",
    response_class=Response,
    responses={200: NUMBERS, **problems_of(503)},
)
async def get_query_map_matrix(service: ServiceDep) -> Response:
    """Little-endian float32, row by row; the headers `x-rows` and `x-dim` tell the shape, no rows where there is no
    query map."""
    query_map = service.store.query_map
    return _rows(None if query_map is None else query_map.matrix, service.store.space.dim)


@router.get(
    "/vectors/sample",
    summary="Vectors of random documents",
    response_class=Response,
    responses={200: NUMBERS, **problems_of(422, 503)},
)
async def sample_vectors(
    service: ServiceDep,
    size: Annotated[int, Query(ge=1, description="How many; all documents when there are fewer.")] = 1_000,
    seed: Annotated[int, Query(ge=0, lt=1 << 63, description="The same seed draws the same documents.")] = 0,
) -> Response:
    """Little-endian float32, row by row; the headers `x-rows` and `x-dim` tell the shape."""
    view = service.store.view
    dim = view.space.dim
    if (most := MAX_SAMPLE_BYTES // (4 * dim)) < size:
        raise Refused("limit-exceeded", f"a sample has at most {most} vectors of {dim} numbers, got size={size}")
    rows = await service.calls.run(drawn, view, size, seed)
    return _streamed(blocks(view, rows, max(1, PIECE // (4 * dim))), len(rows), dim)


async def _applied(request: Request, service: Service, rotation: Rotation | None) -> Response:
    return await applied(request, Applying(service, partial(_rotated, service.store, rotation)))


def _rotated(store: Store, rotation: Rotation | None, progress: Progress) -> dict[str, Any]:
    store.rotate(rotation, progress)
    return _matrices(store)


def _mapped(service: Service, query_map: QueryMap | None) -> dict[str, Any]:
    """In one call, as in `Applying`."""
    service.store.set_query_map(query_map)
    return _matrices(service.store)


def _matrices(store: Store) -> dict[str, Any]:
    """Rotation and query map in force, as the statistics tell them."""
    stats = store.stats()
    return {name: stats[name] for name in ("rotation", "query_map")}


def _rows(matrix: np.ndarray | None, dim: int) -> Response:
    """The bytes of a (dim, dim) matrix, none of them for None."""
    return _streamed([] if matrix is None else [matrix], 0 if matrix is None else dim, dim)


def _streamed(parts: Iterable[np.ndarray], rows: int, dim: int) -> Response:
    """The bytes of arrays with so many rows together, made while they are sent: a slow reader holds one of them."""
    pieces = (np.ascontiguousarray(part, dtype="<f4").tobytes() for part in parts)
    headers = {"x-rows": str(rows), "x-dim": str(dim), "content-length": str(4 * rows * dim)}
    return StreamingResponse(pieces, headers=headers, media_type="application/octet-stream")


def _limit(service: Service) -> int:
    """Bytes of a body with a matrix in base64, and a MiB for the rest."""
    return service.store.space.dim**2 * 4 * 4 // 3 + MIB

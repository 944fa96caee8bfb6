"""The recall of searches, measured: a run in the background, its state and result, its end, and the calibration."""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.answers import json_answer
from app.body import read_json
from app.openapi import body_of, problems_of
from app.recall_requests import RecallRequest
from app.recall_responses import Forgotten, RecallStatus
from app.service import Service, ServiceDep

router = APIRouter(tags=["recall"])
EXAMPLES: dict[str, Any] = {"all by itself": {"value": {}}}


@router.post(
    "/recall",
    summary="Measure recall and calibrate",
    status_code=202,
    response_model=RecallStatus,
    responses=problems_of(400, 409, 413, 415, 422, 503),
    openapi_extra=body_of({"application/json": RecallRequest}, EXAMPLES),
)
async def post_recall(request: Request, service: ServiceDep) -> Response:
    """Begin a run that asks queries exactly and by every shortlist, and learns what a `target_recall` takes. It goes
    on in the background and gives way to searches; GET /recall tells how far it is, and what it found."""
    body = await read_json(request, RecallRequest, service.settings.max_body_bytes)
    answer = json_answer(await service.calls.run(service.recall.start, body), 202)
    answer.headers["location"] = "/recall"
    return answer


@router.get("/recall", summary="State and result of the run", response_model=RecallStatus)
async def get_recall(service: ServiceDep) -> Response:
    """The run that waits, runs or ran last; its `state` is none when there was none since the service started."""
    return json_answer(service.recall.status())


@router.delete("/recall", summary="Cancel the run", response_model=RecallStatus, responses=problems_of(503))
async def delete_recall(service: ServiceDep) -> Response:
    """Give up what waits or runs; a run that is cancelled has changed nothing. One that has ended stays as it is."""
    return json_answer(await service.writes.run(_cancelled, service))


@router.delete(
    "/recall/calibration", summary="Forget the calibration", response_model=Forgotten, responses=problems_of(409, 503)
)
async def delete_calibration(service: ServiceDep) -> Response:
    """Search with default shortlists again, and make no calibration until somebody asks for one or the service
    restarts. A run that is under way is cancelled."""
    return json_answer(await service.writes.run(_forgotten, service))


def _cancelled(service: Service) -> dict[str, Any]:
    service.recall.cancel()
    return service.recall.status()


def _forgotten(service: Service) -> dict[str, Any]:
    service.recall.decline()
    known = service.store.calibration is not None
    service.store.forget_calibration()
    return {"forgotten": known}

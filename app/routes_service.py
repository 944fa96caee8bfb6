"""The service about itself: health, information, metrics, and what its problems mean."""

import asyncio
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.admission import Admission
from app.answers import json_answer
from app.gauges import Now, Scrape
from app.info import info
from app.openapi import problems_of
from app.problems import PROBLEMS, Problem, Refused
from app.responses import Info, Status
from app.service import Service, ServiceDep
from index.query import Query

router = APIRouter(tags=["service"])
PROBE_SECONDS = 10
PROBE_TEXT = "Is the service ready?"


@router.get("/info", summary="Model, widths, limits, capabilities", response_model=Info)
async def get_info(service: ServiceDep) -> Response:
    """What only a rotation changes while the service runs."""
    return json_answer(info(service))


@router.get("/stats", summary="Counts, bytes and queues")
async def get_stats(service: ServiceDep) -> dict[str, Any]:
    """The state of the index and of the queues right now."""
    stats = await service.calls.run(service.store.stats)
    easing = service.easing.describe(service.searches.depth)
    truth = await service.calls.run(service.truth.describe)
    fingerprint = service.store.space.fingerprint_id
    told = {"waiting": service.waiting, "truth": truth, "easing": easing, "scrub": service.scrubbing.describe()}
    return {**stats, "fingerprint": fingerprint, **told}


@router.get("/livez", summary="Is the process alive?", response_model=Status)
async def livez() -> Response:
    """Always, when it can answer at all."""
    return json_answer({"status": "alive"})


@router.get("/readyz", summary="Does it answer searches?", response_model=Status, responses=problems_of(503))
async def readyz(request: Request) -> Response:
    """Whether a probe went through model and index; 503 before, and while it cannot."""
    service: Service | None = getattr(request.app.state, "service", None)
    if service is None:
        raise Refused("not-ready", "the model and the index are not open")
    await probe(service)
    return json_answer({"status": "ready"})


async def probe(service: Service) -> None:
    """One search through the whole path; Refused (503) when it takes too long. Probes need no key: however many come,
    they never take more than one of the places of searches."""
    try:
        await asyncio.wait_for(service.probing.run(partial(_search, service)), PROBE_SECONDS)
    except TimeoutError:
        raise Refused("not-ready", f"a probe was not answered within {PROBE_SECONDS} seconds") from None


async def _search(service: Service) -> None:
    """The text is embedded once; after that the cache has its vector."""
    vectors = np.ones((1, service.store.space.dim), dtype=np.float32)
    if service.encoder is not None:
        vectors = (await service.encoder.queries([PROBE_TEXT])).vectors
    await service.searches.run(service.store.search, vectors, Query(limit=1))


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request, service: ServiceDep) -> Response:
    """The text format of Prometheus."""
    text = await service.calls.run(_scrape, service, request.app.state.admission)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _scrape(service: Service, admission: Admission) -> bytes:
    now = Now(service.store.stats(), service, admission)
    return generate_latest(Scrape(service.metrics.registry, now))


@router.get("/problems", summary="All kinds of problems")
async def list_problems() -> Response:
    """What errors can mean; `type` of a problem is the address of its explanation."""
    return json_answer([_explained(problem) for problem in PROBLEMS.values()])


@router.get("/problems/{slug}", summary="What a problem means", responses=problems_of(404))
async def explain_problem(slug: str) -> Response:
    """One kind of problem."""
    if slug not in PROBLEMS:
        raise Refused("not-found", "there is no such problem")
    return json_answer(_explained(PROBLEMS[slug]))


def _explained(problem: Problem) -> dict[str, Any]:
    return {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "meaning": problem.meaning,
    }

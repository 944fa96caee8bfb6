"""POST /search."""

from fastapi import APIRouter, Request, Response

from app.answers import json_answer
from app.body import read_json
from app.openapi import body_of, problems_of
from app.requests import SearchRequest
from app.search import search
from app.search_responses import SearchResponse
from app.service import ServiceDep

router = APIRouter(tags=["search"])
EXAMPLES = {
    "a text": {"value": {"query": "parse a date from text", "limit": 5}},
    "with a filter": {"value": {"query": "regular expressions", "filter": {"section": "perl"}, "explain": True}},
    "a target recall": {"value": {"query": "sort a list", "target_recall": 0.95}},
    "a wider funnel": {"value": {"query": "sort a list", "shortlist": 400}},
    "more like this": {"value": {"id": "datetime.datetime.strptime"}},
    "two texts": {"value": {"queries": ["open a file", "close a socket"], "limit": 3}},
}


@router.post(
    "/search",
    summary="Find documents",
    response_model=SearchResponse,
    responses=problems_of(400, 404, 413, 415, 422, 503, 504),
    openapi_extra=body_of({"application/json": SearchRequest}, EXAMPLES),
)
async def search_documents(request: Request, service: ServiceDep) -> Response:
    """Shortlist on prefixes, rerank with full vectors. With `queries` or `vectors`, `results`, `funnel`,
    `degraded` and `fewer` are lists with one entry per query."""
    body = await read_json(request, SearchRequest, service.settings.max_body_bytes)
    found = await search(service, body)
    request.scope["state"]["timing_ms"] = found["timing_ms"]  # for the log
    return json_answer(found)

"""Searches that pass by the router are answered as the router would have them answered."""

from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from starlette.testclient import TestClient

from app import main, routes_search
from app.direct import routes_of
from service import fill, running

TYPE = {"content-type": "application/json"}
REQUESTS: dict[str, dict[str, Any]] = {
    "a search": {"json": {"query": "sort a list"}},
    "no search of its own": {"json": {"id": "nobody"}},
    "an unknown field": {"json": {"query": "sort", "limmit": 3}},
    "a wrong vector": {"json": {"vector": [1, 2]}},
    "no time": {"json": {"query": "sort", "timeout_ms": 1e-9}},
    "no JSON": {"content": b"{", "headers": TYPE},
    "another type": {"content": b"{}", "headers": {"content-type": "text/plain"}},
    "an unknown parameter": {"json": {"query": "sort"}, "params": {"limit": "3"}},
    "an empty parameter": {"json": {"query": "sort"}, "params": {"": ""}},
    "another method": {"method": "GET"},
    "another address": {"url": "/search/", "json": {"query": "sort"}},
    "an encoded address": {"url": "/%73earch", "json": {"query": "sort"}},
}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TestClient]]:
    """One service that has direct routes, and one that has none."""
    folder = tmp_path_factory.mktemp("direct")
    with pytest.MonkeyPatch.context() as patch, running(folder / "direct") as direct:
        patch.setattr(main, "routes_of", lambda _: {})
        with running(folder / "routed") as routed:
            for client in (direct, routed):
                fill(client)
            yield [direct, routed]


def answer(client: TestClient, request: dict[str, Any]) -> tuple[Any, ...]:
    """Status, headers and body, without what belongs to one request alone."""
    given = client.request(**{"method": "POST", "url": "/search", **request})
    body, headers = given.json(), dict(given.headers)
    for name in ("timing_ms", "request_id"):
        body.pop(name, None)
    return given.status_code, headers.keys(), headers["content-type"], body


@pytest.mark.parametrize("name", REQUESTS)
def test_the_answer_is_that_of_the_router(clients: list[TestClient], name: str) -> None:
    """Also where it is a refusal."""
    direct, routed = (answer(client, REQUESTS[name]) for client in clients)
    assert direct == routed


def test_they_are_counted_by_their_route(clients: list[TestClient]) -> None:
    """Metrics know the route of a search that no router has seen."""
    counted = [client.get("/metrics").text for client in clients]
    for text in counted:
        assert 'funnel_http_requests_total{method="POST",route="/search",status="200"}' in text


def test_direct_endpoints_take_request_and_service_alone() -> None:
    """What else a router would give them they would not get."""
    routes = routes_of(routes_search.router)
    assert ("POST", "/search") in routes
    for route in routes.values():
        dependant: Dependant = route.dependant
        assert list(signature(route.endpoint).parameters) == ["request", "service"]
        assert not dependant.path_params
        assert not dependant.query_params
        assert "{" not in route.path

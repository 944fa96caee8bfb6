"""Searches without the router: matching routes and solving dependencies took a third of what HTTP costs a search."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.body import known_parameters
from app.problems import FORESEEN, handle
from app.service import Service

Endpoint = Callable[[Request, Service], Awaitable[Response]]


class Direct:
    """The innermost middleware: calls the endpoints of `routes`, method and path -> route, as their routes would.

    They take nothing but the request and the service. Everything else goes on to the router, as does what it has to
    say of these paths, such as a 405.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[tuple[str, str], APIRoute]) -> None:
        self._app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request here, or pass it on."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            return await self._app(scope, receive, send)
        scope["route"] = route
        request = Request(scope, receive)
        answer = await _answered(route.endpoint, request)
        return await answer(scope, receive, send)


def routes_of(router: APIRouter) -> dict[tuple[str, str], APIRoute]:
    """The router's routes as `Direct` looks them up; their paths have no parameters."""
    found = (route for route in router.routes if isinstance(route, APIRoute))
    return {(method, route.path): route for route in found for method in route.methods or ()}


async def _answered(endpoint: Endpoint, request: Request) -> Response:
    try:
        await known_parameters(request)
        return await endpoint(request, request.app.state.service)
    except FORESEEN as error:
        return await handle(request, error)

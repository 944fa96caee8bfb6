"""Reading and validating request bodies: size, content type, JSON, schema."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from app.busy import ShuttingDown, Stalled
from app.headers import first_of_each, media_type
from app.problems import Refused, pointer

JSON, NDJSON, ARROW = "application/json", "application/x-ndjson", "application/vnd.apache.arrow.stream"
STREAMS = (NDJSON, ARROW)  # bodies of any length, read as they arrive
Model = TypeVar("Model", bound=BaseModel)


def require(request: Request, *accepted: str) -> str:
    """The content type; Refused (415) unless it is one of `accepted`, and the body is not compressed."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused("unsupported-media-type", f"send the body as it is, without the content-encoding {encoding:.100}")
    given = media_type(first_of_each(request.scope["headers"]))
    if given not in accepted:
        raise Refused("unsupported-media-type", f"send {' or '.join(accepted)} with a content-type header")
    return given


async def known_parameters(request: Request) -> None:
    """Refuse (422) parameters of the address that the route does not have: nothing is ignored in silence."""
    route = request.scope.get("route")
    if not request.scope["query_string"] or not isinstance(route, APIRoute):
        return
    known = {field.alias for field in route.dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        found = [{"parameter": name[:100], "detail": "unknown parameter"} for name in unknown]
        raise Refused("validation", f"known parameters here: {', '.join(sorted(known)) or 'none'}", found)


async def read_json(request: Request, model: type[Model], limit: int, idle: float | None = None) -> Model:
    """The validated JSON body; Refused with 400, 413, 415 or 422, Stalled after `idle` seconds without a byte."""
    require(request, JSON)
    return validate(model, decode(await read(request, limit, idle)))


async def chunks(request: Request, idle: float | None) -> AsyncIterator[bytes]:
    """The body as it arrives; Stalled when nothing comes for `idle` seconds, ClientDisconnect when the client left."""
    arriving = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle):
                chunk = await anext(arriving, None)
        except TimeoutError:
            raise Stalled(idle or 0) from None
        if chunk is None:
            return
        yield chunk


async def until(stopping: asyncio.Event, arriving: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks; ShuttingDown when the service stops before the last one."""
    stop = asyncio.create_task(stopping.wait())
    try:
        while True:
            chunk = asyncio.ensure_future(anext(arriving, None))
            try:
                await asyncio.wait((chunk, stop), return_when=asyncio.FIRST_COMPLETED)
            finally:
                chunk.cancel()  # no effect on one that has come
            if not chunk.done():
                raise ShuttingDown("the service shuts down; what had come is stored")
            if (data := chunk.result()) is None:
                return
            yield data
    finally:
        stop.cancel()


async def read(request: Request, limit: int, idle: float | None = None) -> bytes:
    """The whole body; Refused (413) as soon as it is known to be longer than `limit` bytes, or Stalled."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (stated := int(declared[:19])) > limit:  # Python refuses to read thousands of digits
        raise _too_large(limit, f"{stated}")
    body = bytearray()
    async for chunk in request.stream() if idle is None else chunks(request, idle):
        body += chunk
        if len(body) > limit:
            raise _too_large(limit, f"at least {len(body)}")
    return bytes(body)


def decode(data: bytes) -> Any:
    """The JSON value; Refused (400) with the place where it is not JSON, never with the text itself."""
    if not data.strip():
        raise Refused("malformed-json", "the body is empty")
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise Refused("malformed-json", f"not JSON: {error}") from None


def validate(model: type[Model], value: Any) -> Model:
    """The model; Refused (422) with a pointer and a sentence for everything that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [_entry(item) for item in error.errors(include_url=False)]
        raise Refused("validation", "; ".join(_sentence(item) for item in found[:3]), found) from None


def _entry(item: ErrorDetails) -> dict[str, str]:
    return {"pointer": pointer(*item["loc"]), "detail": _explain(item)}


def _sentence(entry: dict[str, str]) -> str:
    return f"{entry['pointer']}: {entry['detail']}" if entry["pointer"] else entry["detail"]


def _explain(item: ErrorDetails) -> str:
    """What is wrong, with both numbers where there are two, and without the input otherwise."""
    if item["type"] == "extra_forbidden":
        return "unknown field"
    if item["type"] == "none_required":
        return "not available in this version"
    given = item["input"]
    if type(given) in (int, float):
        return f"{item['msg']}, got {given if abs(given) < 10**18 else 'a number beyond 1e18'}"
    return item["msg"]


def _too_large(limit: int, size: str) -> Refused:
    return Refused(
        "body-too-large",
        f"the body has {size} bytes, the limit is {limit}; documents can be sent to /ingest as {NDJSON},"
        " one a line, in a body of any length",
        limit=limit,
    )

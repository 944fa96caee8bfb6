"""An OpenAPI document that tells the truth about bodies, which we read ourselves, and about problems."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app import compact_requests, matrix_requests, recall_requests, requests, snapshot_requests
from app.access import Access
from app.access_rights import Right
from app.problems import MEDIA_TYPE, PROBLEMS
from app.responses import ProblemShape, Progress, Summary

KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
}
REFERENCE = "#/components/schemas/{model}"
BODIES: tuple[type[BaseModel], ...] = (
    compact_requests.CompactRequest,
    matrix_requests.EmbeddingsRequest,
    matrix_requests.QueryMapRequest,
    matrix_requests.RotationRequest,
    recall_requests.RecallRequest,
    requests.CountRequest,
    requests.DeleteRequest,
    requests.DocumentBody,
    requests.IngestRequest,
    requests.PatchRequest,
    requests.ScrollRequest,
    requests.SearchRequest,
    snapshot_requests.SnapshotRequest,
)
ANSWERS: tuple[type[BaseModel], ...] = (ProblemShape, Progress, Summary)


def body_of(content: Mapping[str, type[BaseModel] | None], examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The `requestBody` of a route, by content type, None for bytes; examples are those of the first one."""
    described: dict[str, Any] = {
        kind: {"schema": reference(model) if model else {"type": "string", "format": "binary"}}
        for kind, model in content.items()
    }
    if examples:
        next(iter(described.values()))["examples"] = dict(examples)
    return {"requestBody": {"required": True, "content": described}}


def problems_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with problems of these statuses."""
    return {status: _problem(status) for status in statuses}


def reference(model: type[BaseModel]) -> dict[str, str]:
    """A `$ref` to a model among the components."""
    return {"$ref": REFERENCE.format(model=model.__name__)}


def install(app: FastAPI, access: Access) -> None:
    """Make the application describe itself with our document, built once when it is first asked for."""
    app.openapi = lambda: _document(app, access)  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI, access: Access) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, definitions = models_json_schema([(model, "validation") for model in BODIES], ref_template=REFERENCE)
        _, answers = models_json_schema([(model, "serialization") for model in ANSWERS], ref_template=REFERENCE)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas |= definitions["$defs"] | answers["$defs"]
        _without_defaults(document, schemas)
        _with_keys(document, access)
        app.openapi_schema = document
    return app.openapi_schema


def _without_defaults(document: dict[str, Any], schemas: dict[str, Any]) -> None:
    """FastAPI adds a 422 of its own shape to every route with parameters; ours is a problem."""
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            answer = operation["responses"].get("422")
            if answer and "HTTPValidationError" in str(answer):
                operation["responses"]["422"] = _problem(422)
            operation["responses"].setdefault("default", _problem(500))


def _with_keys(document: dict[str, Any], access: Access) -> None:
    """Say which requests need a key: none of them, where the service has no key."""
    document["components"]["securitySchemes"] = KEYS
    document["security"] = [{name: []} for name in KEYS] if access.keys else []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if access.rights.of(method.upper(), path) is Right.OPEN:
                operation["security"] = []


def _problem(status: int) -> dict[str, Any]:
    titles = [problem.title for problem in PROBLEMS.values() if problem.status == status]
    return {
        "description": "; or: ".join(titles),
        "content": {MEDIA_TYPE: {"schema": reference(ProblemShape)}},
    }

"""JSON answers written by pydantic's serialiser, which is the fastest one installed."""

from typing import Any

from fastapi import Response
from pydantic_core import to_json


def json_answer(body: Any, status: int = 200) -> Response:
    """An application/json response."""
    return Response(to_json(body), status, media_type="application/json")

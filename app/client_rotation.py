"""Matrices and vectors between numpy and the service's JSON and bytes, for the client."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import numpy as np

TEXTS_AT_ONCE = 256


def matrix_body(matrix: np.ndarray, **rest: Any) -> dict[str, Any]:
    """The body of a request that brings a (dim, dim) matrix."""
    data = np.asarray(matrix, dtype="<f4").tobytes()
    return {"matrix": base64.b64encode(data).decode(), **{name: value for name, value in rest.items() if value}}


def rows_of(response: httpx.Response) -> np.ndarray:
    """(n, dim) float32 of a sample."""
    shape = int(response.headers["x-rows"]), int(response.headers["x-dim"])
    return np.frombuffer(response.content, dtype="<f4").reshape(shape)


def embeddings_bodies(texts: Sequence[str], kind: str) -> Iterator[dict[str, Any]]:
    """Requests of at most 256 texts each."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = list(texts[start : start + TEXTS_AT_ONCE])
        yield {"input": part, "input_type": kind, "encoding_format": "base64"}


def embeddings_of(answer: Mapping[str, Any]) -> np.ndarray:
    """(n, dim) float32 of an answer of /v1/embeddings in base64."""
    rows = [np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4") for item in answer["data"]]
    return np.stack(rows)

"""POST /v1/embeddings, in OpenAI's shape."""

import base64
from typing import Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.answers import json_answer
from app.body import read_json
from app.encoder import Encoder
from app.matrix_requests import EmbeddingsRequest
from app.matrix_responses import Embeddings
from app.openapi import body_of, problems_of
from app.problems import Refused
from app.service import ServiceDep
from index.matryoshka import prefixes

router = APIRouter(tags=["embeddings"])
AT_ONCE = 16  # texts between which searches get their turn
EXAMPLES = {
    "a query": {"value": {"input": "parse a date from text"}},
    "documents, cut to 32 numbers": {
        "value": {"input": ["sort a list", "open a file"], "input_type": "document", "dimensions": 32}
    },
}


@router.post(
    "/v1/embeddings",
    summary="Embed texts",
    response_model=Embeddings,
    responses=problems_of(400, 413, 415, 422, 503),
    openapi_extra=body_of({"application/json": EmbeddingsRequest}, EXAMPLES),
)
async def embed(request: Request, service: ServiceDep) -> Response:
    """Unit vectors of texts, as queries unless `input_type` says otherwise. `dimensions` cuts them and normalises
    again; only widths that the model was trained for keep its quality."""
    body = await read_json(request, EmbeddingsRequest, service.settings.max_body_bytes)
    if service.encoder is None or service.embedder is None:
        raise Refused("no-model", "this service has no model to embed with")
    dim = service.store.space.dim
    if body.dimensions is not None and body.dimensions > dim:
        where = [{"pointer": "/dimensions", "detail": f"at most {dim}, got {body.dimensions}"}]
        raise Refused("validation", f"dimensions must be at most {dim}, got {body.dimensions}", where)
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = prefixes(await _embedded(service.encoder, texts, body.input_type), body.dimensions or dim)
    data = [{"object": "embedding", "index": i, "embedding": _shown(v, body)} for i, v in enumerate(vectors)]
    tokens = await to_thread.run_sync(service.embedder.count_tokens, texts, body.input_type)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_answer({"object": "list", "data": data, "model": service.embedder.model_name, "usage": usage})


async def _embedded(encoder: Encoder, texts: list[str], kind: str) -> np.ndarray:
    """(n, dim) float32 unit rows."""
    rows = []
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        rows.append((await encoder.queries(part) if kind == "query" else await encoder.documents(part)).vectors)
    return np.concatenate(rows)


def _shown(vector: np.ndarray, body: EmbeddingsRequest) -> Any:
    return (
        vector.tolist()
        if body.encoding_format == "float"
        else base64.b64encode(vector.astype("<f4").tobytes()).decode()
    )

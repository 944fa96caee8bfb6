"""What the service says about itself."""

from importlib.metadata import version
from typing import Any

from app.requests import MAX_IDS, MAX_QUERY_CHARACTERS
from app.service import Service
from index.document import MAX_ID_BYTES

NAME = "funnel-search"
CAPABILITIES = (
    "search.query", "search.queries", "search.vector", "search.vectors", "search.id", "search.filter",
    "search.shortlist", "search.oversampling", "search.stages", "search.exact", "search.rescore", "search.explain",
    "search.score_threshold", "search.timeout_ms",
    "ingest.json", "ingest.ndjson", "ingest.progress", "ingest.atomic", "ingest.modes", "ingest.vectors",
    "rotation", "query_map", "compact", "snapshots", "vectors.sample", "embeddings",
    "documents.get", "documents.patch", "documents.delete", "documents.count", "documents.scroll",
)  # fmt: skip
NEED_MODEL = ("search.query", "search.queries", "embeddings")


def info(service: Service) -> dict[str, Any]:
    """Model, widths, limits and capabilities: only a rotation changes them while the service runs."""
    view, embedder = service.store.view, service.embedder
    space = view.searched
    return {
        "name": NAME,
        "version": version(NAME),
        "model": None if embedder is None else _model(service),
        "dim": space.dim,
        "prefix_dim": space.prefix_dim,
        "exact_only": space.exact_only,
        "rotation": None if view.rotation is None else {"method": view.rotation.method, "widths": view.rotation.widths},
        "fingerprint": space.fingerprint_id,
        "fingerprint_of": {"dim": space.dim, **space.fingerprint},
        "storage": view.codec.name,
        "row_bytes": view.codec.row_bytes,
        "notice": service.notice,
        "capabilities": [name for name in CAPABILITIES if embedder is not None or name not in NEED_MODEL],
        "limits": limits(service),
    }


def limits(service: Service) -> dict[str, int]:
    """The numbers that a 413 or 422 would name."""
    settings = service.settings
    return {
        "max_limit": settings.max_limit,
        "max_shortlist": settings.max_shortlist,
        "max_queries": settings.max_queries,
        "max_query_characters": MAX_QUERY_CHARACTERS,
        "max_body_bytes": settings.max_body_bytes,
        "max_document_bytes": settings.max_document_bytes,
        "max_id_bytes": MAX_ID_BYTES,
        "max_delete_ids": MAX_IDS,
    }


def _model(service: Service) -> dict[str, Any] | None:
    embedder = service.embedder
    if embedder is None:
        return None
    return {
        "name": embedder.model_name,
        "revision": embedder.revision,
        "matryoshka_dims": list(embedder.matryoshka_dims),
        "max_tokens": embedder.max_tokens,
    }

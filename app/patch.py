"""PATCH /documents/{id}: read, change, write."""

from collections.abc import Mapping
from typing import Any

from app.problems import Refused
from app.requests import PatchRequest
from app.service import Service
from index.document import Document, StoredDocument
from index.errors import DocumentNotFound, FunnelError

ATTEMPTS = 10  # of a document that others change at the same time


async def patch(service: Service, doc_id: str, changes: PatchRequest) -> dict[str, Any]:
    """Apply the changes; the vector is made again only when the title or the text is another one."""
    with service.ingests.one():
        async with service.patching:
            for _ in range(ATTEMPTS):
                answer = await _attempt(service, doc_id, changes)
                if answer is not None:
                    return answer
    raise Refused("write-conflict", f"the document changed {ATTEMPTS} times while it was patched")


class Moved(FunnelError):
    """The document has another text than the one that was compared with."""


async def _attempt(service: Service, doc_id: str, changes: PatchRequest) -> dict[str, Any] | None:
    """The answer, or None when the document changed meanwhile."""
    old = await stored(service, doc_id, with_vector=False)
    title, text = new_text(old, changes)
    if (title, text) != (old.title, old.text):
        return await _embedded(service, Document(doc_id, text, title, merge_patch(old.metadata, changes.metadata)))

    def change(now: StoredDocument) -> dict[str, Any]:
        if (now.title, now.text) != (title, text):
            raise Moved
        return merge_patch(now.metadata, changes.metadata)

    try:
        outcome = await service.writes.run(service.store.update_metadata, doc_id, change)
    except Moved:
        return None
    return {"id": doc_id, "status": outcome.status, "truncated": False}


async def _embedded(service: Service, document: Document) -> dict[str, Any]:
    """Write another text with a vector that the model makes, also in place of a vector of the user's own."""
    if service.encoder is None:
        raise Refused("no-model", "this service has no model: to change the text, ingest it with its vector")
    made = await service.encoder.documents([document.embedded_text])
    vectors = {0: made.vectors[0]}
    (outcome,) = await service.writes.run(service.store.write, [document], vectors, mode="update_only")
    if outcome.status == "missing":
        raise missing(document.doc_id)
    return {"id": document.doc_id, "status": outcome.status, "truncated": bool(made.truncated[0])}


async def stored(service: Service, doc_id: str, with_vector: bool) -> StoredDocument:
    """A stored document; DocumentNotFound if there is none."""
    found = await service.calls.run(service.store.get, [doc_id], with_vector=with_vector)
    if not found:
        raise missing(doc_id)
    return found[0]


def missing(doc_id: str) -> DocumentNotFound:
    """The error of an id that is not stored."""
    return DocumentNotFound(f"no document has the id {doc_id!r}")


def new_text(old: StoredDocument, changes: PatchRequest) -> tuple[str | None, str]:
    """Title and text after the changes."""
    given = changes.model_fields_set
    text = changes.text if "text" in given else old.text
    return (changes.title if "title" in given else old.title), text


def merge_patch(target: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396: objects are merged, null removes, everything else replaces."""
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value) if isinstance(value, Mapping) else value
    return merged

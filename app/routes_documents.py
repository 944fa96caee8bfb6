"""Documents by id, and in bulk by ids or filter."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from app.answers import json_answer
from app.body import read_json
from app.openapi import body_of, problems_of
from app.patch import missing, patch, stored
from app.problems import Refused
from app.requests import CountRequest, DeleteRequest, PatchRequest, ScrollRequest
from app.responses import Counted, Deleted, DocumentShape, Page, Patched
from app.service import ServiceDep
from index.document import StoredDocument

router = APIRouter(prefix="/documents", tags=["documents"])
DocId = Annotated[
    str,
    Path(description="The id, percent-encoded; it may contain slashes. One that ends in a newline has no address."),
]


@router.post(
    "/delete",
    summary="Delete documents",
    response_model=Deleted,
    responses=problems_of(400, 413, 415, 422, 503, 507),
    openapi_extra=body_of({"application/json": DeleteRequest}, {"by ids": {"value": {"ids": ["a", "b"]}}}),
)
async def delete_documents(request: Request, service: ServiceDep) -> Response:
    """Delete by ids, or all that match a filter; durable when answered. Ids that are not stored are no error."""
    body = await read_json(request, DeleteRequest, service.settings.max_body_bytes)
    if body.filter is not None:
        return json_answer({"deleted": await service.writes.run(service.store.delete_where, body.filter)})
    return json_answer({"deleted": await service.writes.run(service.store.delete, body.ids or [])})


@router.post(
    "/count",
    summary="Count documents",
    response_model=Counted,
    responses=problems_of(400, 413, 415, 422, 503),
    openapi_extra=body_of({"application/json": CountRequest}, {"all": {"value": {}}}),
)
async def count_documents(request: Request, service: ServiceDep) -> Response:
    """How many documents match a filter, or how many there are."""
    body = await read_json(request, CountRequest, service.settings.max_body_bytes)
    return json_answer({"count": await service.calls.run(service.store.count, body.filter)})


@router.post(
    "/scroll",
    summary="List documents",
    response_model=Page,
    responses=problems_of(400, 413, 415, 422, 503),
    openapi_extra=body_of({"application/json": ScrollRequest}, {"first page": {"value": {"limit": 10}}}),
)
async def scroll_documents(request: Request, service: ServiceDep) -> Response:
    """Documents in the order of their ids; pass `next` as `after` to get the following page. One of long texts has
    fewer documents than `limit`; the last one has no `next`."""
    body = await read_json(request, ScrollRequest, service.settings.max_body_bytes)
    most = service.settings.max_limit
    if body.limit > most:
        raise Refused("limit-exceeded", f"limit must be at most {most}, got {body.limit}")
    page, after = await service.calls.run(
        service.store.scroll, body.limit, body.after, body.filter, with_vector=body.with_vector
    )
    documents = [document_body(document, body.with_text, body.with_metadata) for document in page]
    return json_answer({"documents": documents, "next": after})


@router.get("/{id:path}", summary="Read a document", response_model=DocumentShape, responses=problems_of(404, 422, 503))
async def get_document(
    id: DocId, service: ServiceDep, with_vector: Annotated[bool, Query(description="With its vector.")] = False
) -> Response:
    """A document as it is stored."""
    return json_answer(document_body(await stored(service, id, with_vector)))


@router.patch(
    "/{id:path}",
    summary="Change a document",
    response_model=Patched,
    responses=problems_of(400, 404, 409, 413, 415, 422, 503, 507),
    openapi_extra=body_of(
        {"application/json": PatchRequest}, {"metadata": {"value": {"metadata": {"read": True, "draft": None}}}}
    ),
)
async def patch_document(id: DocId, request: Request, service: ServiceDep) -> Response:
    """Replace the text or the title, merge the metadata; the vector is made again only when it has to be."""
    body = await read_json(request, PatchRequest, service.settings.max_body_bytes)
    return json_answer(await patch(service, id, body))


@router.delete("/{id:path}", summary="Delete a document", response_model=Deleted, responses=problems_of(404, 503, 507))
async def delete_document(id: DocId, service: ServiceDep) -> Response:
    """Delete one document, durably."""
    deleted = await service.writes.run(service.store.delete, [id])
    if not deleted:
        raise missing(id)
    return json_answer({"deleted": deleted})


def document_body(document: StoredDocument, with_text: bool = True, with_metadata: bool = True) -> dict[str, Any]:
    """A stored document; members that were not asked for are absent."""
    body: dict[str, Any] = {"id": document.doc_id}
    if with_text:
        body |= {"title": document.title, "text": document.text}
    if with_metadata:
        body["metadata"] = document.metadata
    if document.vector is not None:
        body["vector"] = document.vector.tolist()
    return body

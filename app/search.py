"""POST /search: from the request to a plan, from answers to a response."""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict
from time import monotonic, perf_counter
from typing import Any, TypeVar

import numpy as np

from app.easing import Eased
from app.encoder import Encoded
from app.problems import Refused
from app.requests import SearchRequest
from app.service import Service
from index.errors import SearchTimeout
from index.hybrid import Hybrid
from index.matryoshka import check_vector
from index.query import Answer, Hit, Query

T = TypeVar("T")
STAGES = ("shortlist", "rerank", "documents")
GRACE = 0.5  # seconds in which a search that runs into its deadline may still hand over what it has


async def search(service: Service, request: SearchRequest) -> dict[str, Any]:
    """The response to a search; raises Refused, Busy and the errors of the index."""
    started = perf_counter()
    query = plan(request)
    asked = await within(query.deadline, embed(service, request))
    submitted = perf_counter()
    latest = None if query.deadline is None else query.deadline + GRACE
    eased = _eased(service, query)
    planned = eased.query if eased else query
    answers, begun = await within(latest, service.searches.run(_search, service, asked.vectors, planned))
    if eased:
        answers = [eased.marked(answer) for answer in answers]
    stages = (*STAGES, "words") if query.hybrid else STAGES
    timing = {
        "queue": asked.queue_ms + (begun - submitted) * 1e3,
        "embed": asked.embed_ms,
        **{stage: sum(answer.timing_ms[stage] for answer in answers) for stage in stages},
        "total": (perf_counter() - started) * 1e3,
    }
    _measure(service, answers, timing)
    if request.id is None:  # a stored document is no query like those to come
        service.reservoir.add(asked.vectors)
    return respond(request, answers, timing)


def plan(request: SearchRequest) -> Query:
    """What the index is asked to do."""
    deadline = None if request.timeout_ms is None else monotonic() + request.timeout_ms / 1e3
    return Query(
        limit=request.wanted,
        offset=request.offset,
        shortlist=request.shortlist,
        oversampling=request.oversampling,
        stages=None if request.stages is None else tuple((dims, keep) for dims, keep in request.stages),
        target_recall=request.target_recall,
        confidence=request.confidence,
        exact=request.exact,
        rescore=request.rescore,
        filter=request.filter,
        score_threshold=request.score_threshold,
        with_text=request.with_text,
        with_metadata=request.with_metadata,
        with_vector=request.with_vector,
        explain=request.explain,
        exclude=request.id,
        mapped=request.id is None,
        deadline=deadline,
        hybrid=_hybrid(request),
    )


def _hybrid(request: SearchRequest) -> Hybrid | None:
    """The words for each vector."""
    if (asked := request.hybrid) is None:
        return None
    texts = request.queries or [request.query or ""] * (1 if request.vectors is None else len(request.vectors))
    return Hybrid(tuple(texts if asked.text is None else [asked.text] * len(texts)), asked.weight)


async def embed(service: Service, request: SearchRequest) -> Encoded:
    """One vector for each thing that is looked for."""
    texts = [request.query] if request.query is not None else request.queries
    vectors = [request.vector] if request.vector is not None else request.vectors
    _check_number(service, texts or vectors or [])
    if vectors is not None:
        return Encoded(_checked(service, vectors), 0.0, 0.0)
    if request.id is not None:
        return Encoded((await service.calls.run(service.store.vector_of, request.id))[None], 0.0, 0.0)
    if service.encoder is None:
        raise Refused("no-model", f"this service has no model: send a vector of {service.store.space.dim} numbers")
    return await service.encoder.queries(texts or [])


async def within(deadline: float | None, work: Awaitable[T]) -> T:
    """The result of `work`; SearchTimeout when it is not there at the deadline (time.monotonic() seconds)."""
    if deadline is None:
        return await work
    try:
        return await asyncio.wait_for(work, deadline - monotonic())
    except TimeoutError:
        raise SearchTimeout("the time ran out before there was anything to answer with") from None


def respond(request: SearchRequest, answers: list[Answer], timing: dict[str, float]) -> dict[str, Any]:
    """The body: lists with one entry per query when several were asked, the entry itself otherwise."""
    several = request.queries is not None or request.vectors is not None
    results = [[hit_body(hit, request) for hit in answer.hits] for answer in answers]
    funnels = [funnel_body(answer) for answer in answers]
    degraded = [answer.degraded for answer in answers]
    fewer = [answer.fewer for answer in answers]
    first = answers[0]
    return {
        "results": results if several else results[0],
        "score_kind": first.score_kind,
        "funnel": funnels if several else funnels[0],
        "degraded": degraded if several else degraded[0],
        "fewer": fewer if several else fewer[0],
        "timing_ms": {stage: round(took, 3) for stage, took in timing.items()},
        "index": {"count": first.count, "generation": first.generation, "fingerprint": first.fingerprint},
    }


def hit_body(hit: Hit, request: SearchRequest) -> dict[str, Any]:
    """One result; members that were not asked for are absent."""
    body: dict[str, Any] = {"id": hit.doc_id, "score": hit.score}
    if request.with_text:
        body |= {"title": hit.title, "text": hit.text}
    if request.with_metadata:
        body["metadata"] = hit.metadata
    if request.with_vector and hit.vector is not None:
        body["vector"] = hit.vector.tolist()
    if hit.places is not None:
        body["hybrid"] = asdict(hit.places)
    if request.explain:
        body["explain"] = {
            "prefix_rank": hit.prefix_rank,
            "prefix_score": hit.prefix_score,
            "full_rank": hit.full_rank,
        }
    return body


def funnel_body(answer: Answer) -> dict[str, Any]:
    """How one query was narrowed down."""
    body = {
        "stages": answer.stages,
        "shortlist_source": answer.shortlist_source,
        "filter_strategy": answer.filter_strategy,
        "exact": answer.exact,
        "target_recall": answer.target_recall,
        "recall_estimate": rounded(answer.recall_estimate),
        "recall_lower_90": rounded(answer.recall_lower),
        "certified": answer.certified,
        "calibration_id": answer.calibration_id,
    }
    return body if answer.explanation is None else {**body, "explain": answer.explanation}


def rounded(share: float | None) -> float | None:
    """Four digits: more would claim to know more than was measured."""
    return None if share is None else round(share, 4)


def _eased(service: Service, query: Query) -> Eased | None:
    """The search as the load allows it; None when it stays as it is. Without a calibration no target is cheaper."""
    eased = service.easing.of(query, service.searches.depth)
    return eased if eased and service.store.calibration else None


def _search(service: Service, vectors: np.ndarray, query: Query) -> tuple[list[Answer], float]:
    begun, view = perf_counter(), service.store.view
    answers = service.store.search(vectors, query)
    service.truth.offer(view, vectors, query, answers)
    return answers, begun


def _check_number(service: Service, asked: list[Any]) -> None:
    limit = service.settings.max_queries
    if len(asked) > limit:
        raise Refused("limit-exceeded", f"a request has at most {limit} queries, got {len(asked)}")


def _checked(service: Service, vectors: list[np.ndarray]) -> np.ndarray:
    """(n, dim) float32; InvalidVector at the first one that cannot be used."""
    dim = service.store.space.dim
    checked = [check_vector(vector, dim)[None] for vector in vectors]
    return checked[0] if len(checked) == 1 else np.concatenate(checked)


def _measure(service: Service, answers: list[Answer], timing: dict[str, float]) -> None:
    service.metrics.timed(timing)
    for answer in answers:
        service.metrics.searched(answer)

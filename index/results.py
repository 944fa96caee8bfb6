"""From ranked rows to answers with documents; ties are ordered by id."""

import sqlite3
import time
from collections.abc import Mapping, Sequence

import numpy as np

from index import filters
from index.allowed import Allowed
from index.documents import by_rows, ids_of
from index.explaining import explained
from index.fewer import fewer
from index.funnel import prefix_places
from index.integrity import check_vectors, damaged
from index.matching import as_of, own_matches
from index.plan import Plan
from index.query import Answer, Hit, Query
from index.ranking import Ranking
from index.view import View


class RowsMoved(Exception):
    """A row died, or its metadata changed, between the search and the reading of its document; search again on the
    newer view."""


def answer(
    db: sqlite3.Connection,
    view: View,
    vector: np.ndarray,
    query: Query,
    plan: Plan,
    ranking: Ranking,
    allowed: Allowed | None,
    node: filters.Node | None,
    strict: bool,
) -> Answer:
    """The hits of one ranking; `node` is the filter of the query, parsed.

    With `strict`, a row without a document, or with one that does not pass the filter any more, raises RowsMoved;
    else it is left out. Raises StoreCorrupt when what is stored of a hit does not match its checksum, its id or the
    filter.
    """
    started = time.perf_counter()
    page = _page(db, view, ranking, query, node, strict)
    check_vectors(view.matrix, view.checksums, [row for row, _, _ in page])
    matching = allowed.count if allowed else view.rows
    if query.bare and not node:
        hits = [Hit(doc_id, score) for _, score, doc_id in page]
    else:
        places = _places(view, vector, ranking, allowed, [row for row, _, _ in page]) if query.explain else {}
        hits = _hits(db, view, query, ranking, page, places, node)
    return Answer(
        hits=hits,
        score_kind=_score_kind(query),
        stages=list(ranking.stages),
        shortlist_source=plan.source,
        filter_strategy=ranking.strategy if query.filter is not None else "none",
        exact=ranking.exact,
        degraded=_degraded(ranking),
        timing_ms={**ranking.timing_ms, "documents": (time.perf_counter() - started) * 1e3},
        count=view.count,
        generation=view.generation,
        fingerprint=view.space.fingerprint_id,
        target_recall=plan.target,
        estimate=ranking.estimate,
        certified=ranking.certified,
        calibration_id=ranking.calibration_id,
        explanation=None if ranking.work is None else explained(ranking.work, plan, matching),
        fewer=fewer(query, plan, view, ranking, matching, len(hits)),
    )


def _hits(
    db: sqlite3.Connection,
    view: View,
    query: Query,
    ranking: Ranking,
    page: Sequence[tuple[int, float, str]],
    places: Mapping[int, tuple[int, float]],
    node: filters.Node | None,
) -> list[Hit]:
    """All that the query asks to be told of (row, score, doc_id)."""
    rows = [row for row, _, _ in page]
    found = by_rows(db, rows) if query.with_text or query.with_metadata or node else {}
    if node:
        own_matches(db, view, list(found.values()), node)
    return [
        Hit(
            doc_id=doc_id,
            score=score,
            title=found[row].title if query.with_text else None,
            text=found[row].text if query.with_text else None,
            metadata=found[row].metadata if query.with_metadata else None,
            vector=view.codec.decode(view.matrix[row : row + 1])[0].copy() if query.with_vector else None,
            prefix_rank=places[row][0] if row in places else None,
            prefix_score=places[row][1] if row in places else None,
            full_rank=_full_rank(query, ranking, row, position),
            places=ranking.places.get(row),
        )
        for position, (row, score, doc_id) in enumerate(page)
    ]


def _page(
    db: sqlite3.Connection, view: View, ranking: Ranking, query: Query, node: filters.Node | None, strict: bool
) -> list[tuple[int, float, str]]:
    rows, scores = ranking.rows, ranking.scores
    if query.score_threshold is not None:
        kept = scores >= query.least_score
        rows, scores = rows[kept], scores[kept]
    present = ids_of(db, rows.tolist())
    if len(present) < len(rows) and as_of(db, view):
        raise damaged("live documents are missing", [row for row in rows.tolist() if row not in present])
    ids = _still_matching(db, view, node, present)
    if strict and len(ids) < len(rows):
        raise RowsMoved
    pairs = zip(rows.tolist(), scores.tolist(), strict=True)
    live = [(row, score, ids[row]) for row, score in pairs if row in ids]
    live.sort(key=lambda hit: (-hit[1], hit[2]))
    return live[query.offset : query.offset + query.limit]


def _still_matching(
    db: sqlite3.Connection, view: View, node: filters.Node | None, ids: dict[int, str]
) -> dict[int, str]:
    """Those that pass the filter as they are read: metadata may have changed in place since the view."""
    if not node or as_of(db, view):
        return ids
    found = by_rows(db, list(ids))
    return {row: ids[row] for row in ids if filters.matches(node, found[row].metadata)}


def _places(
    view: View, vector: np.ndarray, ranking: Ranking, allowed: Allowed | None, rows: Sequence[int]
) -> dict[int, tuple[int, float]]:
    if not len(ranking.shortlist_rows):
        return dict(zip(rows, prefix_places(view, vector, np.array(rows, dtype=np.int64), allowed), strict=True))
    pairs = zip(ranking.shortlist_rows.tolist(), ranking.shortlist_scores.tolist(), strict=True)
    ranks = {row: (rank, score) for rank, (row, score) in enumerate(pairs, 1)}
    return {row: ranks[row] for row in rows if row in ranks}  # not those that only their words have found


def _full_rank(query: Query, ranking: Ranking, row: int, position: int) -> int | None:
    if not query.explain or not query.rescore:
        return None
    return ranking.places[row].vector_rank if row in ranking.places else query.offset + position + 1


def _score_kind(query: Query) -> str:
    if query.hybrid is not None:
        return query.hybrid.score_kind
    return "cosine" if query.rescore else "cosine_prefix"


def _degraded(ranking: Ranking) -> dict[str, str | int] | None:
    if ranking.reranked is None:
        return None
    return {"reason": "timeout", "stage": "rerank", "reranked": ranking.reranked}

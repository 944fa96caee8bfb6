"""Why an answer has fewer hits than its query's `limit`."""

from collections.abc import Mapping
from typing import Any

from index.plan import Plan
from index.query import Query
from index.ranking import Ranking
from index.view import View


def fewer(query: Query, plan: Plan, view: View, ranking: Ranking, matching: int, hits: int) -> Mapping[str, Any] | None:
    """`{"reason", "matching", "wanted", "detail"}`; None when there are as many hits as were wanted.

    `matching` is the number of documents that pass the filter and are not left out. The reason is score_threshold,
    offset, filter, collection, first_stage or moved: the first of them without which there would be more hits.
    """
    if hits >= query.limit:
        return None
    reason = _reason(query, plan, view, ranking, matching, hits)
    detail = _details(query, view, ranking, matching, hits)[reason]
    return {"reason": reason, "matching": matching, "wanted": query.limit, "detail": detail}


def _reason(query: Query, plan: Plan, view: View, ranking: Ranking, matching: int, hits: int) -> str:
    found = min(len(ranking.rows), plan.wanted)
    if hits < min(_above(query, ranking), plan.wanted) - query.offset:
        return "moved"
    if hits < found - query.offset:
        return "score_threshold"
    if found < min(matching, plan.wanted):
        return "first_stage"
    if query.offset and matching:
        return "offset"
    return "filter" if query.filter is not None and matching < view.count else "collection"


def _details(query: Query, view: View, ranking: Ranking, matching: int, hits: int) -> Mapping[str, str]:
    passing = f"{matching:,} {'document' if matching == 1 else 'documents'}"
    asked = f"limit {query.limit:,}" + (f" from offset {query.offset:,}" if query.offset else "")
    left_out = ", less the one that is left out" if query.exclude is not None else ""
    return {
        "moved": f"{hits:,} hits, because documents were replaced or deleted while they were read; {asked}",
        "score_threshold": f"{hits:,} of those found from offset {query.offset:,} on score at least "
        f"{query.score_threshold}; {asked}",
        "first_stage": f"the first stage reached {len(ranking.rows):,} of {passing}; {asked}",
        "offset": f"the offset {query.offset:,} leaves {hits:,} of {passing} that may be found; {asked}",
        "filter": f"{passing} of {view.count:,} pass the filter{left_out}; {asked}",
        "collection": f"the collection has {view.count:,} documents{left_out}; {asked}",
    }


def _above(query: Query, ranking: Ranking) -> int:
    """Rows that the threshold lets pass."""
    return int((ranking.scores >= query.least_score).sum())

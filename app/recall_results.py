"""What a run found, as JSON."""

from typing import Any

from index.curve import Point

SAID = {
    "titles": "the queries are titles of stored documents, which are no sample of what users ask: no guarantee",
    "documents": "the queries are stored documents, which are no sample of what users ask: no guarantee",
}


def plan_point(point: Point) -> dict[str, Any]:
    """A shortlist, or a cascade, and what it brings."""
    stages = point.plan.stages if point.plan.exact else point.plan.stages[:-1]
    return {"stages": [list(stage) for stage in stages], **_found(point)}


def target_point(point: Point) -> dict[str, Any]:
    """A target recall, what it takes and what it brings."""
    return {"target": point.plan.target, **_found(point)}


def _found(point: Point) -> dict[str, Any]:
    recall = {name: round(getattr(point.recall, name), 4) for name in ("mean", "low", "high")}
    return {
        "recall": recall,
        "queries": point.queries,
        "rows": round(point.rows, 1),
        "exact": round(point.exact, 4),
        "ms": {"median": round(point.ms_median, 3), "p95": round(point.ms_p95, 3)},
    }

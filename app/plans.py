"""The stage plans that a funnel's curve is drawn for: which widths, and how many candidates each keeps.

`rerank` is the plain funnel: a shortlist, then the full vectors. `64,256` is a cascade: of a shortlist of s the
256 dimensions keep a quarter, and so on for further widths; `64:2000,256:300` fixes both numbers itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from index.errors import InvalidInput
from index.query import Query

KEPT = 4  # a middle stage keeps one in so many
Stage = tuple[int, int]


@dataclass(frozen=True)
class StagePlan:
    """Widths below the full one, the prefix first; `keeps` when they are fixed, else they follow the shortlist."""

    widths: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()

    def name(self, prefix: int, dim: int) -> str:
        """Such as 64 -> 256 -> 768."""
        return " -> ".join(map(str, (*(self.widths or (prefix,)), dim)))

    def queries(self, shortlists: Sequence[int], limit: int) -> list[tuple[int, Query]]:
        """(shortlist, Query) for every point of the curve."""
        if self.keeps:
            return [(self.keeps[0], lean(limit, stages=tuple(zip(self.widths, self.keeps, strict=True))))]
        if len(self.widths) < 2:
            return [(length, lean(limit, shortlist=length)) for length in shortlists]
        return [(length, lean(limit, stages=self._narrowing(length, limit))) for length in shortlists]

    def _narrowing(self, shortlist: int, limit: int) -> tuple[Stage, ...]:
        return tuple((width, max(limit, shortlist // KEPT**place)) for place, width in enumerate(self.widths))


def lean(limit: int, shortlist: int | None = None, stages: tuple[Stage, ...] | None = None) -> Query:
    """A query that brings ids and scores only."""
    return Query(limit=limit, shortlist=shortlist, stages=stages, with_text=False, with_metadata=False)


def parse_plan(text: str) -> StagePlan:
    """`rerank`, `64,256` or `64:2000,256:300`; InvalidInput for anything else."""
    if text == "rerank":
        return StagePlan()
    try:
        stages = [tuple(map(int, part.split(":"))) for part in text.split(",")]
    except ValueError:
        stages = [()]
    sizes = {len(stage) for stage in stages}
    if sizes == {1}:
        return StagePlan(tuple(stage[0] for stage in stages))
    if sizes == {2}:
        return StagePlan(*zip(*stages, strict=True))
    raise InvalidInput(f"stages are given as rerank, 64,256 or 64:2000,256:300; got {text!r}")


def default_plans(prefix: int, dim: int) -> list[StagePlan]:
    """The rerank, and the cascade by way of four times the prefix where there is room for it."""
    middle = 4 * prefix
    return [StagePlan(), *([StagePlan((prefix, middle))] if middle < dim else [])]

"""What one query cost and why it stopped; counted only when the query asks to explain."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from index.paging import cold_rows
from index.plan import Plan
from index.view import View


@dataclass(frozen=True)
class Stop:
    """Why a descent ended: rule | exhausted | longest | timeout.

    `log_rate` is the log of the share still missing over the rows scored, which the rule compares with `threshold`;
    it and `estimated_missing`, that share, are None when every row that matches was scored.
    """

    reason: str
    log_rate: float | None
    threshold: float
    estimated_missing: float | None


@dataclass
class Work:
    """Inner products by stage, and rows of the shortlist; `candidates` is None where there is no shortlist.

    `prefix` is None where a graph chose what to compare, `cold` (rows of which a page was not in memory when they were
    about to be read) where the kernel does not tell. `corrections` counts how often a descent corrected its order.
    """

    candidates: int | None = 0
    prefix: int | None = 0
    middle: int = 0
    full: int = 0
    cold: int | None = 0
    corrections: int = 0
    stop: Stop | None = None

    def narrowed(self, compared: int | None) -> None:
        """The first stage compared so many prefixes; None is an unknown number."""
        self.prefix = None if self.prefix is None or compared is None else self.prefix + compared

    def reads(self, view: View, rows: np.ndarray) -> None:
        """The full vectors of these rows are read next."""
        cold = cold_rows(view.matrix, rows)
        self.cold = None if self.cold is None or cold is None else self.cold + cold


def explained(work: Work, plan: Plan, matching: int) -> Mapping[str, Any]:
    """`explain` of an answer among so many documents that pass the filter."""
    return {
        "candidates": work.candidates,
        "reranked": work.full,
        "distances": {"prefix": work.prefix, "middle": work.middle, "full": work.full},
        "cold_rows": work.cold,
        "corrections": work.corrections,
        "matching": matching,
        "target_recall": plan.target,
        "stop": None if work.stop is None else asdict(work.stop),
    }

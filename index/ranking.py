"""What the funnel found for one query vector."""

from dataclasses import dataclass, field

import numpy as np

from index.estimate import Estimate
from index.explaining import Work
from index.hybrid import Places
from index.plan import Stage


@dataclass(frozen=True)
class Ranking:
    """Rows and full scores, best first, with those that tie with the last one wanted.

    `stages` is what ran. `shortlist_rows` and `shortlist_scores` are the first stage in its own order, empty where
    it had none of its own. `strategy` is how the first stage met the filter. `estimate` is None where nothing is known.
    `work` is None unless the plan explains.
    """

    rows: np.ndarray
    scores: np.ndarray
    strategy: str
    exact: bool
    stages: tuple[Stage, ...]
    shortlist_rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    shortlist_scores: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    reranked: int | None = None  # set when the deadline cut a middle stage, the rerank or a descent short
    estimate: Estimate | None = None
    certified: bool = False
    calibration_id: str | None = None
    timing_ms: dict[str, float] = field(default_factory=dict)
    work: Work | None = None
    places: dict[int, Places] = field(default_factory=dict)  # by row, of a hybrid search

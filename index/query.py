"""What a search asks for and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from index.estimate import Estimate, Worth
from index.hybrid import Hybrid, Places

BEYOND = 2.0  # any score


@dataclass(frozen=True)
class Query:
    """One search plan, shared by all vectors of a request.

    At most one of `shortlist`, `oversampling`, `stages` and `target_recall` is given; none means the default.
    `target_recall` is in (0, 1]; with a `confidence` in (0, 1) the mean recall is met with that probability.
    `stages` is a cascade `((prefix_dim, keep), (256, keep), ...)`; the last rerank at full width is implied.
    `mapped` sends the vectors through the index's query map, if it has one. `deadline` is in seconds of
    time.monotonic(); `exclude` leaves one document out ("more like this"). `hybrid` has the words
    that are looked for, too.
    """

    limit: int = 10
    offset: int = 0
    shortlist: int | None = None
    oversampling: float | None = None
    stages: tuple[tuple[int, int], ...] | None = None
    target_recall: float | None = None
    confidence: float | None = None
    exact: bool = False
    rescore: bool = True
    filter: Mapping[str, Any] | None = None
    score_threshold: float | None = None
    with_text: bool = True
    with_metadata: bool = True
    with_vector: bool = False
    explain: bool = False
    exclude: str | None = None
    mapped: bool = True
    deadline: float | None = None
    hybrid: Hybrid | None = None

    @property
    def bare(self) -> bool:
        """Whether ids and scores are all that is asked of a hit."""
        return not (self.with_text or self.with_metadata or self.with_vector or self.explain or self.hybrid)

    @property
    def least_score(self) -> float:
        """The threshold, or what every score exceeds; a float32 holds it."""
        return -BEYOND if self.score_threshold is None else min(max(self.score_threshold, -BEYOND), BEYOND)


@dataclass(eq=False, slots=True)  # frozen, it takes three times as long to make
class Hit:
    """One result; ranks start at 1 and are filled when the query asks to explain."""

    doc_id: str
    score: float
    title: str | None = None
    text: str | None = None
    metadata: dict[str, Any] | None = None
    vector: np.ndarray | None = None  # (dim,) float32
    prefix_rank: int | None = None
    prefix_score: float | None = None
    full_rank: int | None = None
    places: Places | None = None  # of a hybrid search


@dataclass(frozen=True)
class Answer:
    """The hits of one query vector, and how they were found.

    `stages` is what ran, `exact` says that the answer is the exact one by construction, `certified` that it is proved
    to be. `estimate` is what `recall_estimate` and `recall_lower` tell, None where nothing is known.
    `timing_ms` has `shortlist`, `rerank` and `documents`. `explanation` (`index.explaining`) is there when the query
    asks to explain, `fewer` (`index.fewer`) when there are fewer hits than its limit.
    """

    hits: list[Hit]
    score_kind: str
    stages: list[tuple[int, int]]
    shortlist_source: str
    filter_strategy: str
    exact: bool
    degraded: dict[str, Any] | None
    timing_ms: dict[str, float]
    count: int
    generation: int
    fingerprint: str
    target_recall: float | None = None
    estimate: Estimate | None = None
    certified: bool = False
    calibration_id: str | None = None
    explanation: Mapping[str, Any] | None = None
    fewer: Mapping[str, Any] | None = None

    @property
    def recall_estimate(self) -> float | None:
        """Expected recall."""
        return self._worth and self._worth[0]

    @property
    def recall_lower(self) -> float | None:
        """The recall that nine of ten answers reach."""
        return self._worth and self._worth[1]

    @cached_property
    def _worth(self) -> Worth | None:
        return self.estimate() if callable(self.estimate) else self.estimate

"""What a search answers: a description for readers and for /docs."""

from typing import Any, Literal

from app.responses import Shape


class Explanation(Shape):
    """Places of a hit, counted from 1; null where the stage did not rank it."""

    prefix_rank: int | None
    prefix_score: float | None
    full_rank: int | None


class PlacesShape(Shape):
    """Of a hybrid search: ranks, from 1, and scores among what both sides brought; null where no word is shared."""

    vector_rank: int
    cosine: float
    words_rank: int | None
    bm25: float | None


class HitShape(Shape):
    """One result; members that were not asked for are absent."""

    id: str
    score: float
    title: str | None = None
    text: str | None = None
    metadata: dict[str, Any] | None = None
    vector: list[float] | None = None
    hybrid: PlacesShape | None = None
    explain: Explanation | None = None


class Distances(Shape):
    """Inner products: of prefixes (null where a graph chose which), in middle stages, of full vectors."""

    prefix: int | None
    middle: int
    full: int


class Stop(Shape):
    """Why a descent to a target recall ended. `log_rate`, the log of the share still missing over the rows scored, is
    compared with `threshold`; it and that share are null when every document that matches was scored."""

    reason: Literal["rule", "exhausted", "longest", "timeout"]
    log_rate: float | None
    threshold: float
    estimated_missing: float | None


class Work(Shape):
    """What one query took, told with `explain`."""

    candidates: int | None  # rows of the shortlist, null for an exact search
    reranked: int  # rows whose full vectors were compared
    distances: Distances
    cold_rows: int | None  # rows with a page that was not in memory before they were read, null if unknown
    corrections: int  # how often a descent corrected the order of its candidates
    matching: int  # documents that pass the filter
    target_recall: float | None
    stop: Stop | None  # of a descent


class Fewer(Shape):
    """Why there are fewer results than `limit`, in a word and in a sentence."""

    reason: Literal["collection", "filter", "score_threshold", "offset", "first_stage", "moved"]
    matching: int  # documents that pass the filter
    wanted: int
    detail: str


class Funnel(Shape):
    """How one query was narrowed down, with the values that took effect."""

    stages: list[tuple[int, int]]
    shortlist_source: Literal["request", "default", "calibration", "uncalibrated"]
    filter_strategy: Literal["none", "exact_subset", "in_graph"]
    exact: bool
    target_recall: float | None  # asked for, or the default once there is a calibration
    recall_estimate: float | None
    recall_lower_90: float | None
    certified: bool
    calibration_id: str | None
    explain: Work | None = None  # absent unless asked for


class Timing(Shape):
    """Milliseconds; stages of several queries are added up."""

    queue: float
    embed: float
    shortlist: float
    rerank: float
    documents: float
    words: float | None = None  # of a hybrid search
    total: float


class IndexState(Shape):
    """The state of the index that answered."""

    count: int
    generation: int
    fingerprint: str


class SearchResponse(Shape):
    """To `query`, `vector` or `id`: one result list. To `queries` or `vectors`: `results`, `funnel`, `degraded` and
    `fewer` are lists with one entry per query, in their order."""

    results: list[HitShape] | list[list[HitShape]]
    score_kind: Literal["cosine", "cosine_prefix", "rrf", "weighted"]
    funnel: Funnel | list[Funnel]
    degraded: dict[str, Any] | list[dict[str, Any] | None] | None
    fewer: Fewer | list[Fewer | None] | None  # null when there are as many results as were wanted
    timing_ms: Timing
    index: IndexState

"""The shapes of answers about recall."""

from typing import Any, Literal

from app.responses import Shape


class IntervalShape(Shape):
    """A mean and its 95 % interval (by betting, Waudby-Smith and Ramdas 2024: right also near 1)."""

    mean: float
    low: float
    high: float


class Milliseconds(Shape):
    """Of first stage and rerank, without embedding, documents and HTTP."""

    median: float
    p95: float


class Measured(Shape):
    """What a way to search brought: `rows` is the mean number of full vectors compared, `exact` the share of exact
    answers."""

    recall: IntervalShape
    queries: int
    rows: float
    exact: float
    ms: Milliseconds


class PlanShape(Measured):
    """A shortlist, or a cascade of [dimensions, rows kept]; the last rerank at full width is implied."""

    stages: list[tuple[int, int]]


class TargetShape(Measured):
    """A target recall on queries that the calibration was not made with."""

    target: float


class CalibrationShape(Shape):
    """What target recalls go by from now on."""

    id: str
    made: str
    source: str
    guaranteed: bool
    queries: int
    documents: int


class RecallResult(Shape):
    """`guaranteed`: the queries are of the kind that will be asked. `seconds` by phase."""

    k: int
    queries: int
    source: Literal["queries", "vectors", "live", "titles", "documents"]
    guaranteed: bool
    seed: int
    documents: int
    filter: dict[str, Any] | None
    curve: list[PlanShape]
    targets: list[TargetShape]
    calibration: CalibrationShape | None
    warnings: list[str]
    seconds: dict[str, float]


class RecallStatus(Shape):
    """The run that waits, runs or ran last. `automatic` says why the service began it by itself."""

    id: str | None
    state: Literal["none", "waiting", "running", "done", "cancelled", "failed"]
    automatic: str | None
    phase: str
    done: int
    total: int
    fraction: float
    seconds: float
    error: str | None
    result: RecallResult | None


class Forgotten(Shape):
    """Whether there was a calibration to forget."""

    forgotten: bool

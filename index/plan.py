"""From what a query asks for to the stages that run: every bound is checked here, nothing is clamped."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from index.errors import InvalidPlan
from index.options import StoreOptions
from index.query import Query
from index.space import Space

Stage = tuple[int, int]  # (dims, keep)

SHORTLIST_FLOOR = 200
SHORTLIST_FACTOR = 10  # times limit + offset
SHORTLIST_GROWTH = 200  # for every tenfold of rows beyond 1,000
CAUTION = ((0.9, 1), (0.95, 2), (0.98, 4), (0.99, 8))  # times the default, before any calibration
EXCLUSIVE = "exact", "shortlist", "oversampling", "stages", "target_recall"
SCANNED = 4  # a shortlist of more than one row in so many costs more than the exact scan


@dataclass(frozen=True)
class Plan:
    """The effective narrowing. `stages` ends with the full width unless the prefix order is the answer.

    `exact` plans scan full vectors, which is their only stage; `wanted` is limit + offset. With `target` a calibration
    decides for each query where its shortlist ends; the first stage's number is the most it may be; `instead` is
    the plan for when the calibration knows no way to the target. `explain` counts the work.
    """

    stages: tuple[Stage, ...]
    wanted: int
    source: str  # request | default | calibration | uncalibrated
    exact: bool = False
    rescore: bool = True
    target: float | None = None
    confidence: float | None = None
    explain: bool = False
    instead: "Plan | None" = None

    @property
    def shortlist(self) -> int:
        """Length of the shortlist; of an exact plan, the number of results wanted."""
        return self.stages[0][1]


def make_plan(query: Query, space: Space, count: int, options: StoreOptions, calibrated: int | None = None) -> Plan:
    """Check a query against the index and choose its stages; raises InvalidPlan with both numbers.

    `calibrated` is the longest shortlist of the calibration that is in force, None when there is none.
    """
    wanted = _wanted(query, options)
    _check_exclusive(query, space)
    given = query.shortlist, query.stages, query.oversampling, query.target_recall
    source = "request" if query.exact or any(value is not None for value in given) else "default"
    if query.exact or space.exact_only or query.target_recall == 1.0:
        return Plan(((space.dim, wanted),), wanted, source, exact=True, target=query.target_recall)
    target = query.target_recall if source == "request" or not query.rescore else options.default_recall
    if target is not None and (calibrated is not None or query.target_recall is not None):
        plan = _targeted(target, query.confidence, space, wanted, count, calibrated)
        return plan if source == "request" else replace(plan, instead=_narrowing(query, space, wanted, count, options))
    return _narrowing(query, space, wanted, count, options, source)


def _narrowing(
    query: Query, space: Space, wanted: int, count: int, options: StoreOptions, source: str = "default"
) -> Plan:
    """A shortlist or stages of given length."""
    if query.stages is not None:
        first = _check_stages(query.stages, space, wanted, count, options)
    else:
        first = ((space.prefix_dim, _shortlist(query, wanted, count, options)),)
    if not query.rescore:
        return Plan(first, wanted, source, rescore=False)
    last = (space.dim, wanted)
    if min(keep for _, keep in first) >= count:  # nothing is left out: the exact scan is cheaper
        return Plan((last,), wanted, source, exact=True)
    return Plan((*first, last), wanted, source)


def default_shortlist(wanted: int, count: int) -> int:
    """The shortlist of a request that names none, before calibration.

    Ten candidates for every result wanted, at least 200, and 200 more for every tenfold of the collection beyond
    1,000 rows: nDCG@10 is then within 0.5 % of exact on every collection of `docs/evaluation.md`.
    """
    growth = SHORTLIST_GROWTH * math.log10(max(count, 1_000) / 1_000)
    return max(SHORTLIST_FLOOR + round(growth), SHORTLIST_FACTOR * wanted)


def _targeted(
    target: float, confidence: float | None, space: Space, wanted: int, count: int, calibrated: int | None
) -> Plan:
    """By the calibration; without one a shortlist that was long enough on every collection measured."""
    last = (space.dim, wanted)
    if calibrated is not None:
        most = max(wanted, min(calibrated, count))
        exact = Plan((last,), wanted, "calibration", exact=True, target=target)
        stages = ((space.prefix_dim, most), last)
        return Plan(stages, wanted, "calibration", target=target, confidence=confidence, instead=exact)
    factor = next((times for limit, times in CAUTION if target <= limit), None)
    shortlist = count if factor is None else factor * default_shortlist(wanted, count)
    if shortlist * SCANNED >= count:  # so large a part of the collection is quicker scanned
        return Plan((last,), wanted, "uncalibrated", exact=True, target=target)
    return Plan(((space.prefix_dim, shortlist), last), wanted, "uncalibrated", target=target)


def _wanted(query: Query, options: StoreOptions) -> int:
    if query.limit < 1:
        raise InvalidPlan(f"limit must be at least 1, got {query.limit}")
    if query.offset < 0:
        raise InvalidPlan(f"offset must be at least 0, got {query.offset}")
    wanted = query.limit + query.offset
    if wanted > options.max_limit:
        raise InvalidPlan(f"limit + offset must be at most {options.max_limit}, got {wanted}")
    return wanted


def _check_exclusive(query: Query, space: Space) -> None:
    values = query.exact or None, query.shortlist, query.oversampling, query.stages, query.target_recall
    given = [name for name, value in zip(EXCLUSIVE, values, strict=True) if value is not None]
    if len(given) > 1:
        raise InvalidPlan(f"{' and '.join(given)} exclude each other; give one of them")
    if not query.rescore and query.stages is not None and len(query.stages) > 1:
        raise InvalidPlan(f"rescore=false answers with the first of the stages; give one, got {len(query.stages)}")
    if query.target_recall is not None and not 0 < query.target_recall <= 1:
        raise InvalidPlan(f"target_recall must be above 0 and at most 1, got {query.target_recall}")
    if query.confidence is not None and (query.target_recall is None or not 0 < query.confidence < 1):
        raise InvalidPlan(f"confidence must be between 0 and 1 and needs a target_recall, got {query.confidence}")
    if query.target_recall is not None and not query.rescore:
        raise InvalidPlan("target_recall and rescore=false exclude each other: recall is that of full scores")
    if query.exact and not query.rescore:
        raise InvalidPlan("exact and rescore=false exclude each other: an exact answer has full scores")
    if space.exact_only and (given not in ([], ["exact"], ["target_recall"]) or not query.rescore):
        raise InvalidPlan(
            f"this index has no trained prefix and searches exactly; leave out {given[0] if given else 'rescore'}"
        )


def _shortlist(query: Query, wanted: int, count: int, options: StoreOptions) -> int:
    if query.shortlist is not None:
        shortlist = query.shortlist
    elif query.oversampling is not None:
        shortlist = math.ceil(_check_oversampling(query.oversampling) * wanted)
    else:
        default = default_shortlist(wanted, count)
        return default if default >= count else min(default, max(wanted, options.max_shortlist))
    _check_shortlist(shortlist, wanted, count, options)
    return shortlist


def _check_oversampling(oversampling: float) -> float:
    if not oversampling >= 1:
        raise InvalidPlan(f"oversampling must be at least 1, got {oversampling}")
    if oversampling > 1e6:
        raise InvalidPlan(f"oversampling must be at most 1000000, got {oversampling}")
    return oversampling


def _check_shortlist(shortlist: int, wanted: int, count: int, options: StoreOptions) -> None:
    if shortlist < wanted:
        raise InvalidPlan(f"shortlist must be at least limit + offset = {wanted}, got {shortlist}")
    if options.max_shortlist < shortlist < count:
        raise InvalidPlan(
            f"shortlist must be at most {options.max_shortlist}, or at least the {count} documents stored "
            f"(an exact search); got {shortlist}"
        )


def _check_stages(
    stages: tuple[Stage, ...], space: Space, wanted: int, count: int, options: StoreOptions
) -> tuple[Stage, ...]:
    if not stages:
        raise InvalidPlan("stages must name at least one stage")
    dims, keeps = [dim for dim, _ in stages], [keep for _, keep in stages]
    if dims[0] != space.prefix_dim:
        raise InvalidPlan(f"the first stage must have the prefix's {space.prefix_dim} dimensions, got {dims[0]}")
    if any(a >= b for a, b in pairwise(dims)) or (len(dims) > 1 and dims[-1] >= space.dim):
        raise InvalidPlan(f"stages must widen from {space.prefix_dim} and stay below {space.dim}, got {dims}")
    if any(a < b for a, b in pairwise(keeps)):
        raise InvalidPlan(f"stages must not keep more than the stage before, got {keeps}")
    _check_shortlist(keeps[-1], wanted, count, options)
    _check_shortlist(keeps[0], wanted, count, options)
    return stages

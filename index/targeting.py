"""A search for a target recall: down the prefix order until the calibrated rule says that it is enough."""

import math
import time
from dataclasses import replace

import numpy as np

from index import certificate
from index.allowed import Allowed
from index.calibration import Calibration, Rule
from index.descent import Descent, lengths
from index.exact import with_ties
from index.explaining import Stop, Work
from index.plan import Plan
from index.ranking import Ranking
from index.view import View

SCANNED = 3  # where more than one row in so many would be reranked, scanning all is as quick, and exact
HURRIED = 256  # rows between two looks at the clock


def resolved(plan: Plan, calibration: Calibration | None, matching: int) -> tuple[Plan, Rule | None]:
    """The plan for so many rows that match, and the rule it goes by, if it does.

    Without a rule it is `plan.instead`; an exact scan where a descent would rerank too much of what matches.
    """
    if plan.exact or plan.target is None or calibration is None:
        return plan, None
    rule = calibration.rule(plan.wanted, plan.target, matching, plan.confidence)
    if rule is None:
        return replace(plan.instead or plan, explain=plan.explain), None
    if rule.rows * SCANNED > matching:
        return replace(plan, exact=True, stages=plan.stages[-1:]), None
    return plan, rule


def descend(
    view: View, query: np.ndarray, plan: Plan, rule: Rule, allowed: Allowed | None, deadline: float | None
) -> Ranking:
    """The ranking of a (dim,) unit query, with the recall that such stops brought in the calibration."""
    started = time.perf_counter()
    work = Work() if plan.explain else None
    stops = _stops(rule, plan.wanted, allowed.count if allowed else view.rows)
    descent = Descent(view, query, allowed, rule.depth, rule.corrects, stops[0], work)
    begun = time.perf_counter()
    stop = _descend(descent, stops, plan.wanted, rule, deadline)
    log_missing = 0.0 if stop.log_rate is None else stop.log_rate + math.log(len(descent.rows))
    if work is not None:
        work.candidates = work.full = len(descent.rows)
        work.stop = stop
    top = with_ties(descent.rows, descent.scores, plan.wanted)
    proved = descent.exhausted or _proved(view, descent, top[1], plan.wanted)
    ended = time.perf_counter()
    return Ranking(
        *top,
        descent.strategy if allowed else "none",
        exact=descent.exhausted,
        stages=((plan.stages[0][0], len(descent.rows)), *plan.stages[1:]),
        reranked=len(descent.rows) if stop.reason == "timeout" and not proved else None,
        estimate=(1.0, 1.0) if proved else rule.worth(log_missing, stop.reason == "rule"),
        certified=proved,
        calibration_id=rule.calibration_id,
        timing_ms={"shortlist": (begun - started) * 1e3, "rerank": (ended - begun) * 1e3},
        work=work,
    )


def _stops(rule: Rule, wanted: int, matching: int) -> list[int]:
    """The lengths at which the rule is asked, and the longest; fewer rows than 1.5 times `wanted` tell it nothing."""
    longest = min(max(rule.most, wanted), matching)
    possible = sorted({rule.first, *lengths(longest)})
    return [length for length in possible if max(rule.first, 1.5 * wanted) <= length <= longest] or [longest]


def _descend(descent: Descent, stops: list[int], wanted: int, rule: Rule, deadline: float | None) -> Stop:
    """Go down until the rule holds, the deadline passes, or there is nothing left; never less than `wanted` rows."""
    rate, log_missing = None, None
    for length in stops:
        _extend(descent, length, max(wanted, 2), deadline)
        if descent.exhausted or len(descent.rows) < 2:
            continue  # to the end of the lengths: all that match are scored
        log_missing = float(rule.model.log_missing(descent.signs(min(wanted, len(descent.rows)))))
        rate = log_missing - math.log(len(descent.rows))
        if rate <= rule.rate:
            return _stop("rule", rate, log_missing, rule)
        if deadline is not None and time.monotonic() > deadline:
            return _stop("timeout", rate, log_missing, rule)
    if descent.exhausted:
        return _stop("exhausted", None, None, rule)
    return _stop("longest", rate, log_missing, rule)


def _extend(descent: Descent, length: int, least: int, deadline: float | None) -> None:
    """To that length, or once `least` rows are scored and the deadline has passed, not so far."""
    for part in range(len(descent.rows) + HURRIED, length, HURRIED) if deadline is not None else ():
        descent.extend(part)
        if part >= least and deadline is not None and time.monotonic() > deadline:
            return
    descent.extend(length)


def _stop(reason: str, rate: float | None, log_missing: float | None, rule: Rule) -> Stop:
    return Stop(reason, rate, rule.rate, None if log_missing is None else math.exp(log_missing))


def _proved(view: View, descent: Descent, scores: np.ndarray, wanted: int) -> bool:
    left = descent.cosine_left
    if left is None or len(scores) < wanted:
        return False
    return certificate.proves(view, descent.norm, descent.strategy, float(scores[wanted - 1]), left)

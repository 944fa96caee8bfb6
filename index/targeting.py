"""A search for a target recall: down the prefix order until the calibrated rule says that it is enough."""

import time

import numpy as np

from index import certificate
from index.allowed import Allowed
from index.calibration import Rule
from index.descent import Descent, lengths
from index.exact import with_ties
from index.plan import Plan
from index.ranking import Ranking
from index.view import View


def descend(
    view: View, query: np.ndarray, plan: Plan, rule: Rule, allowed: Allowed | None, deadline: float | None
) -> Ranking:
    """The ranking of a (dim,) unit query, with the recall that such stops brought in the calibration."""
    started = time.perf_counter()
    descent = Descent(view, query, allowed, rule.depth)
    begun = time.perf_counter()
    log_missing, in_time, model = 0.0, True, rule.model
    for length in lengths(min(max(rule.most, plan.wanted), descent.matching)):
        if 2 * length < 3 * min(plan.wanted, descent.matching):
            continue
        descent.extend(length)
        if descent.exhausted or len(descent.rows) < 2:
            continue  # to the end of the lengths: all that match are scored
        told = descent.signs(min(plan.wanted, len(descent.rows)))
        log_missing = float(model.log_missing(told))
        if log_missing - np.log(len(descent.rows)) <= rule.rate:
            break
        if deadline is not None and time.monotonic() > deadline:
            in_time = False
            break
    top = with_ties(descent.rows, descent.scores, plan.wanted)
    proved = descent.exhausted or _proved(view, query, descent, top[1], plan.wanted)
    ended = time.perf_counter()
    return Ranking(
        *top,
        descent.strategy if allowed else "none",
        exact=descent.exhausted,
        stages=((plan.stages[0][0], len(descent.rows)), *plan.stages[1:]),
        reranked=None if in_time else len(descent.rows),
        estimate=(1.0, 1.0) if proved else rule.curve.stopped.of(log_missing),
        certified=proved,
        calibration_id=rule.calibration_id,
        timing_ms={"shortlist": (begun - started) * 1e3, "rerank": (ended - begun) * 1e3},
    )


def _proved(view: View, query: np.ndarray, descent: Descent, scores: np.ndarray, wanted: int) -> bool:
    left = descent.cosine_left
    if left is None or len(scores) < wanted or not certificate.scanned(view, descent.strategy):
        return False
    return float(scores[wanted - 1]) > certificate.bound(view, query, left)

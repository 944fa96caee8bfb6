"""Both sides of a hybrid search made one ranking: the funnel's best rows and the best by words.

Every row of either side gets its full score, so that it has a rank among all of them by vectors, too.
"""

import time
from dataclasses import replace

import numpy as np

from index import funnel
from index.allowed import Allowed
from index.calibration import Calibration, Rule
from index.errors import InvalidPlan
from index.exact import with_ties
from index.hybrid import Hybrid, Places
from index.plan import Plan
from index.ranking import Ranking
from index.rerank import rerank
from index.view import View
from index.words import Words
from index.words_file import Ranked

DEPTH = 100  # rows of each side, at least: beyond, 1 / (60 + rank) decides nothing among the first ten
RRF = 60  # Cormack, Clarke and Buettcher 2009
LEAST = 0.01  # of the range of cosines, that the lowest candidate has: a tie with the best by vectors is the words'


def deepened(plan: Plan) -> Plan:
    """The plan whose rankings are long enough to be fused; raises InvalidPlan for one without full scores."""
    if not plan.rescore:
        raise InvalidPlan("hybrid and rescore=false exclude each other: what the words find is given full scores")
    depth = max(plan.wanted, DEPTH if plan.exact else min(DEPTH, plan.shortlist))
    instead = None if plan.instead is None else deepened(plan.instead)
    return replace(plan, wanted=depth, stages=(*plan.stages[:-1], (plan.stages[-1][0], depth)), instead=instead)


def search(
    view: View,
    queries: np.ndarray,
    plan: Plan,
    allowed: Allowed | None,
    deadline: float | None,
    calibration: Calibration | None,
    rule: Rule | None,
    hybrid: Hybrid | None,
    wanted: int,
    words: Words,
) -> list[Ranking]:
    """As `funnel.search`; with `hybrid` the best `wanted` rows by both, the plan being `deepened`."""
    rankings = funnel.search(view, queries, plan, allowed, deadline, calibration, rule)
    if hybrid is None:
        return rankings
    made = []
    for query, ranking, text in zip(queries, rankings, hybrid.texts, strict=True):
        begun = time.perf_counter()
        by_words = words.ranked(view, text, allowed, plan.wanted, deadline)
        timing = {**ranking.timing_ms, "words": (time.perf_counter() - begun) * 1e3}
        made.append(_fused(view, query, replace(ranking, timing_ms=timing), by_words, hybrid, wanted))
    return made


def _fused(
    view: View,
    query: np.ndarray,
    ranking: Ranking,
    by_words: Ranked,
    hybrid: Hybrid,
    wanted: int,
) -> Ranking:
    more = np.setdiff1d(by_words[0], ranking.rows)
    cosines = np.concatenate([ranking.scores, rerank(view, query, more, len(more), None)])
    rows, cosines = with_ties(np.concatenate([ranking.rows, more]), cosines, len(ranking.rows) + len(more))
    found = np.zeros(len(rows), dtype=np.int64)  # rank by words, 0 for none
    relevance = np.zeros(len(rows))
    at = {row: place for place, row in enumerate(rows.tolist())}
    places = [at[row] for row in by_words[0].tolist()]
    found[places], relevance[places] = np.arange(1, len(places) + 1), by_words[1]
    scores = _rrf(found) if hybrid.weight is None else _weighted(cosines, relevance, hybrid.weight)
    best = with_ties(rows, scores, wanted)
    told = {
        row: Places(
            at[row] + 1, float(cosines[at[row]]), int(found[at[row]]) or None, float(relevance[at[row]]) or None
        )
        for row in best[0].tolist()
    }
    fused = replace(ranking, rows=best[0], scores=best[1], places=told)
    return replace(fused, estimate=None, certified=False, calibration_id=None)  # these speak of the order by vectors


def _rrf(found: np.ndarray) -> np.ndarray:
    """Of rows in the order of their vectors, with their ranks by words or 0: sums of 1 / (60 + rank), float64."""
    by_vector: np.ndarray = 1 / (RRF + np.arange(1, len(found) + 1))
    by_words: np.ndarray = np.where(found > 0, 1 / (RRF + np.maximum(found, 1)), 0.0)
    return by_vector + by_words


def _weighted(cosines: np.ndarray, relevance: np.ndarray, weight: float) -> np.ndarray:
    """The sum of both, each divided by what its best row has; cosines are counted from their lowest."""
    if not len(cosines):
        return np.empty(0)
    low, high = float(cosines.min()), float(cosines.max())
    low -= max(LEAST * (high - low), 1e-9)
    by_words = relevance / max(float(relevance.max()), 1e-9)
    total: np.ndarray = (1 - weight) * (cosines - low) / (high - low) + weight * by_words
    return total

"""What is measured of target recalls on queries that a calibration did not see."""

import copy
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from harness import console

from index.calibrating import Asked
from index.evaluation import recall_at_k
from index.exact import exact
from index.funnel import prefix_places
from index.query import Answer, Query
from index.store import Store

TARGETS, KS = (0.90, 0.95, 0.98, 0.99), (1, 10, 100)
AT_ONCE = 64  # queries searched at a time
TIMED = 400  # queries whose searches are timed
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 1.0)
LEAN: dict[str, Any] = {"with_text": False, "with_metadata": False}


class Truth:
    """The exact best rows of (q, dim) queries, and the place of each in the order of the prefixes.

    Row numbers are document ids: every store here is written in order and nothing is deleted.
    """

    def __init__(self, store: Store, queries: np.ndarray, filter: dict[str, Any] | None = None) -> None:
        """Scan for the best max(KS) of every query; with a filter through the store."""
        self.store, self.queries, self.filter = store, queries, filter
        self.matching = store.count(filter)
        view, most = store.view, max(KS)
        if filter is None:
            found = [one for block in _blocks(queries) for one in exact(view, block, most)]
            self.rows = [rows[:most].tolist() for rows, _ in found]
        else:
            query = Query(limit=most, exact=True, filter=filter, **LEAN)
            self.rows = [[int(hit.doc_id) for hit in one.hits] for one in searched(store, queries, query)]

    def first(self, number: int) -> "Truth":
        """The same of the first queries."""
        some = copy.copy(self)
        some.queries, some.rows = self.queries[:number], self.rows[:number]
        return some

    def recall(self, answers: Sequence[Answer], k: int) -> np.ndarray:
        """(q,) recall@k of answers; of a filter that fewer pass, recall of those."""
        both = zip(answers, self.rows, strict=True)
        return np.array([recall_at_k([int(hit.doc_id) for hit in answer.hits], rows, k) for answer, rows in both])

    def places(self) -> np.ndarray:
        """(q, max(KS)) places of the best rows in the order of all prefixes, from 1."""
        view = self.store.view
        found = (
            prefix_places(view, query, np.array(rows), None)
            for query, rows in zip(self.queries, self.rows, strict=True)
        )
        return np.array([[place for place, _ in one] for one in found])


def searched(store: Store, queries: np.ndarray, query: Query) -> list[Answer]:
    """Answers to (q, dim) queries."""
    return [answer for block in _blocks(queries) for answer in store.search(block, query)]


def targets(truth: Truth, places: np.ndarray | None = None, ks: Sequence[int] = KS) -> list[dict[str, Any]]:
    """A record for every k and target: achieved recall, estimates, rows and time; against the best fixed shortlist."""
    records = []
    for k in ks:
        for target in TARGETS:
            query = Query(limit=k, target_recall=target, filter=truth.filter, **LEAN)
            records.append(_record(truth, query, places, k, target))
            console.print(_line(records[-1]), highlight=False)
    return records


def _record(truth: Truth, query: Query, places: np.ndarray | None, k: int, target: float) -> dict[str, Any]:
    answers = searched(truth.store, truth.queries, query)
    recall = truth.recall(answers, k)
    estimates = np.array([answer.recall_estimate for answer in answers], dtype=float)
    lower = np.array([answer.recall_lower for answer in answers], dtype=float)
    record = {
        "k": k,
        "target": target,
        "recall": _rounded(recall.mean()),
        "error": _rounded(1.96 * recall.std(ddof=1) / np.sqrt(len(recall))),
        "estimate": _rounded(estimates.mean()),
        "absolute_error": _rounded(np.abs(estimates - recall).mean()),
        "coverage": _rounded((recall >= lower - 1e-9).mean()),
        "rows": round(float(np.mean([reranked(answer, truth.matching) for answer in answers])), 1),
        "exact": _rounded(np.mean([answer.exact for answer in answers])),
        "certified": _rounded(np.mean([answer.certified for answer in answers])),
        "source": answers[0].shortlist_source,
        "bins": _bins(estimates, recall),
    }
    if places is not None:
        record |= _against_fixed(truth, query, places, k, record["recall"])
    return record


def reranked(answer: Answer, matching: int) -> int:
    """Full vectors compared; an exact scan compared all that match."""
    return answer.stages[0][1] if len(answer.stages) > 1 else matching


def _against_fixed(truth: Truth, query: Query, places: np.ndarray, k: int, recall: float) -> dict[str, Any]:
    """The shortest shortlist with that mean recall on these very queries, which nobody could have known before."""
    ordered = np.sort(places[:, :k].ravel())
    fixed = max(k, int(ordered[min(len(ordered), max(1, int(np.ceil(recall * len(ordered) - 1e-9)))) - 1]))
    known: dict[str, Any] = {"fixed": fixed}
    if fixed > truth.store.options.max_shortlist:
        return known  # nobody may ask for it
    plain = Query(limit=k, shortlist=min(fixed, truth.store.count()), **LEAN)
    some, taken = truth.queries[:TIMED], {"microseconds": 0.0, "fixed_microseconds": 0.0}
    for start in range(0, len(some), AT_ONCE):  # in turns: a busy moment slows both down
        for name, one in zip(taken, (query, plain), strict=True):
            started = time.thread_time()
            truth.store.search(some[start : start + AT_ONCE], one)
            taken[name] += time.thread_time() - started
    return known | {name: round(seconds / len(some) * 1e6) for name, seconds in taken.items()}


def _bins(estimates: np.ndarray, recall: np.ndarray) -> list[list[float]]:
    """[mean estimate, mean recall, queries] of estimates in each of BINS."""
    place = np.clip(np.searchsorted(BINS, estimates, side="right") - 1, 0, len(BINS) - 2)
    found = ((estimates[place == n], recall[place == n]) for n in range(len(BINS) - 1))
    return [[_rounded(one.mean()), _rounded(two.mean()), len(one)] for one, two in found if len(one)]


def stored_as_queries(store: Store, number: int, seed: int = 0) -> Asked:
    """Stored documents drawn at random, each of which leaves itself out: queries for want of any."""
    vectors, rows, generation = store.measuring.draw_vectors(number, seed)
    return Asked(vectors, "documents", False, rows, generation)


def calibrated(store: Store, asked: Asked) -> dict[str, Any]:
    """Calibrate, and say how much processor time it took."""
    started = time.thread_time()
    made = store.calibrate(asked)
    return {"queries": made.queries, "seconds": round(time.thread_time() - started, 1), "depth": made.depth}


def _blocks(queries: np.ndarray) -> list[np.ndarray]:
    return [queries[start : start + AT_ONCE] for start in range(0, len(queries), AT_ONCE)]


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def _line(one: dict[str, Any]) -> str:
    fixed = f", fixed {one['fixed']:,} ({one['fixed'] / one['rows']:.2f}x)" if "fixed" in one else ""
    return (
        f"  k={one['k']:<3} target {one['target']:.2f}: recall {one['recall']:.4f}, estimate {one['estimate']:.4f}, "
        f"coverage {one['coverage']:.3f}, rows {one['rows']:,.0f}{fixed}"
    )

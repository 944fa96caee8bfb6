"""What exact search says, later, of answers that were given before: the recall of live queries."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index import bits, filters
from index.allowed import Allowed
from index.exact import TIE, exact
from index.matching import Matching
from index.matryoshka import normalise
from index.progress import Progress
from index.query import Answer, Query
from index.view import View


@dataclass(frozen=True, eq=False)
class Shadow:
    """One answer, and all that exact search needs to be asked the same at the same moment.

    `vector` is the (dim,) float32 unit query as it was compared, after the query map; `allowed` the rows that could
    be found, None for all that were live; `wanted` the k of recall@k; `scores` (n,) float64 those of the hits.
    """

    view: View
    vector: np.ndarray
    allowed: Allowed | None
    wanted: int
    scores: np.ndarray

    def recall(self, truth: np.ndarray) -> float:
        """The share of the exact best that was found, from their (m,) scores, best first; 1 when nothing matches.

        A hit counts when it scores as much as the k-th of them: of rows that tie, one is as right as the other.
        """
        k = min(self.wanted, len(truth))
        return 1.0 if k == 0 else min(1.0, float((self.scores >= truth[k - 1] - TIE).sum()) / k)


def shadow(view: View, matching: Matching, vector: np.ndarray, query: Query, answer: Answer) -> Shadow:
    """Of the answer to a (dim,) vector that was found in this view, which has to be the newest still.

    The answer has to hold the whole top k: no offset, no score threshold, scores of full vectors.
    """
    unit = normalise(vector[None])
    if query.mapped:
        unit = view.mapped(unit)
    node = None if query.filter is None else filters.parse(query.filter)
    narrowed = node is not None or query.exclude is not None
    allowed = matching.allowed(view, node, query.exclude) if narrowed else None
    return Shadow(view, unit[0], allowed, query.limit, np.array([hit.score for hit in answer.hits]))


def recalls(shadows: Sequence[Shadow], progress: Progress | None = None) -> list[float]:
    """recall@k of each answer. Those of one view share a scan unless a filter narrowed them.

    `progress` gets (rows done, rows) every few milliseconds of a scan; what it raises ends the work.
    """
    together: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, one in enumerate(shadows):
        together[id(one.view), id(one.allowed)].append(place)
    found = [0.0] * len(shadows)
    for places in together.values():
        asked = [shadows[place] for place in places]
        for place, one, truth in zip(places, asked, _truths(asked, progress), strict=True):
            found[place] = one.recall(truth)
    return found


def _truths(asked: Sequence[Shadow], progress: Progress | None) -> list[np.ndarray]:
    view, allowed = asked[0].view, asked[0].allowed
    live = None if view.all_live else bits.unpack(view.live, view.rows)
    mask = live if allowed is None else allowed.mask()
    queries = np.stack([one.vector for one in asked])
    answers = exact(view, queries, max(one.wanted for one in asked), mask, progress=progress)
    return [scores for _, scores in answers]

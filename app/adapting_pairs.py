"""Is a query map worth setting? Learns one from labelled pairs and measures nDCG@10 on pairs held out for it.

The pairs are divided in three: from most of them the map W is learned, on some the step towards it is chosen, I +
step * (W - I), and the rest tells what it brings. The documents are those of the pairs and a sample of the index.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.adapting import Report
from app.intervals import Estimate, means
from app.query_maps import QueryMapSettings, VectorPairs, learn_query_map
from app.relevance import best, judged
from index.errors import InvalidInput
from index.matryoshka import normalise, prefixes

FEWEST, MOST = 200, 8_000  # pairs
HELD_OUT, CHOOSING = 0.2, 0.1  # of the pairs
MOST_HELD_OUT = 1_000
STEPS = (0.25, 0.5, 0.75, 1.0)
TWIN = 1 - 1e-3  # a sampled document as similar as this to the document of a pair is that one, stored as int8 perhaps


@dataclass(frozen=True)
class MapComparison:
    """nDCG@10 of each held-out query by width, as it is and with the map: (w, q) float64 each."""

    matrix: np.ndarray  # (dim, dim) float32
    step: float
    widths: tuple[int, ...]  # descending, the full one first
    before: np.ndarray
    after: np.ndarray
    learned_from: int  # pairs
    documents: int

    @property
    def gains(self) -> list[Estimate]:
        """What the map adds at each width, query by query."""
        return means(self.after - self.before)

    @property
    def helps(self) -> bool:
        """Whether full-width ranking gets better beyond doubt."""
        return self.gains[0].low > 0

    def to_json(self) -> dict[str, Any]:
        """Everything measured."""
        columns = zip(self.widths, means(self.before), means(self.after), self.gains, strict=True)
        by_width = {
            str(width): {"before": before.to_json(), "after": after.to_json(), "gain": gain.to_json()}
            for width, before, after, gain in columns
        }
        return {
            "ndcg@10": by_width,
            "queries": self.before.shape[1],
            "learned_from": self.learned_from,
            "documents": self.documents,
            "step": self.step,
            "helps": self.helps,
        }


def compare_maps(
    pairs: VectorPairs,
    sample: np.ndarray,
    settings: QueryMapSettings,
    rotation: np.ndarray | None = None,
    in_force: np.ndarray | None = None,
    report: Report = lambda what, done, total: None,
) -> MapComparison:
    """Learn a map and measure it; `rotation` and `in_force` are the (dim, dim) matrices of the index, None without."""
    learning, choosing, asking = divide(pairs, settings.seed)
    fitted = learn_query_map(learning, settings, rotation, lambda done, total: report("learning", done, total))
    documents = np.concatenate([pairs.documents, without_twins(sample, pairs.documents)])
    widths = (pairs.queries.shape[1], *settings.widths)
    report("measuring", 0, 2)
    full = widths[:1]
    at = {step: ndcg(choosing, documents, full, rotation, blended(fitted, step)).mean() for step in STEPS}
    step = max(at, key=lambda one: at[one])
    report("measuring", 1, 2)
    chosen = blended(fitted, step)
    before, after = (ndcg(asking, documents, widths, rotation, matrix) for matrix in (in_force, chosen))
    report("measuring", 2, 2)
    return MapComparison(chosen, step, widths, before, after, len(learning.answers), len(documents))


def divide(pairs: VectorPairs, seed: int) -> tuple[VectorPairs, VectorPairs, VectorPairs]:
    """Pairs to learn from, to choose with and to ask; no document and no query of the last two is learned from."""
    if len(pairs.answers) < FEWEST:
        raise InvalidInput(f"a query map is learned from at least {FEWEST} pairs, there are {len(pairs.answers)}")
    order = np.random.default_rng(seed).permutation(len(pairs.answers))
    held, chosen = min(int(HELD_OUT * len(order)), MOST_HELD_OUT), int(CHOOSING * len(order))
    asking, choosing, learning = np.split(order, [held, held + chosen])
    questions = np.unique(pairs.queries, axis=0, return_inverse=True)[1].reshape(-1)
    for known in (pairs.answers, questions):
        learning = learning[~np.isin(known[learning], known[order[: held + chosen]])]
    if len(learning) < FEWEST // 2:
        raise InvalidInput(
            f"at least {FEWEST // 2} pairs with queries and documents of their own are needed, got {len(learning)}"
        )
    return _picked(pairs, learning), _picked(pairs, choosing), _picked(pairs, asking)


def _picked(pairs: VectorPairs, rows: np.ndarray) -> VectorPairs:
    return replace(pairs, queries=pairs.queries[rows], answers=pairs.answers[rows])


def blended(matrix: np.ndarray, step: float) -> np.ndarray:
    """I + step * (matrix - I), float32."""
    return ((1 - step) * np.eye(len(matrix)) + step * matrix).astype(np.float32)


def without_twins(sample: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """The rows of (m, dim) vectors that are none of the (n, dim) documents; as stored, both may be rounded."""
    known, blocks = normalise(documents).T, np.split(sample, range(512, len(sample), 512))
    return np.concatenate([rows[(normalise(rows) @ known).max(axis=1, initial=-1) < TWIN] for rows in blocks])


def ndcg(
    pairs: VectorPairs,
    documents: np.ndarray,
    widths: Sequence[int],
    rotation: np.ndarray | None,
    matrix: np.ndarray | None,
) -> np.ndarray:
    """(w, q) float64 nDCG@10 of full scans at each width; `matrix` maps the queries."""
    queries = pairs.queries if matrix is None else normalise(pairs.queries @ matrix)
    relevant = [{int(row): 1.0} for row in pairs.answers]
    values = []
    for width in widths:
        turn = rotation if width < queries.shape[1] else None
        found = best(prefixes(queries, width, turn), prefixes(documents, width, turn))
        values.append(judged(found.tolist(), relevant)["ndcg@10"])
    return np.stack(values)

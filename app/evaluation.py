"""Evaluates models at every width and through the funnel: one collection or one file of scored pairs at a time.

What comes out is plain JSON; `app.evaluation_report` and `app.plots` show it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.bm25 import bm25
from app.bottleneck import WANTED, bottleneck, losses
from app.collections import Collection
from app.funnel_curve import Found, Point, Searcher, filled_store
from app.intervals import RESAMPLES, Estimate, correlation_shares, correlations, means, shares
from app.plans import StagePlan, default_plans
from app.relevance import CUT, best, judged
from app.similarity import ScoredPairs, cosines
from app.subject import Remember, Subject
from index.evaluation import recall_at_k
from index.matryoshka import prefixes

SHORTLISTS = (50, 100, 200, 400, 800)
MAIN = "ndcg@10"
Say = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure; None stands for what suits the model."""

    widths: tuple[int, ...] | None = None
    shortlists: tuple[int, ...] = SHORTLISTS
    plans: tuple[StagePlan, ...] | None = None
    queries: int | None = None  # at most so many of a collection, drawn with seed 0
    wanted: float = WANTED  # share of the full quality that a width has to keep

    def to_json(self) -> dict[str, Any]:
        """What a reader of the results needs to know."""
        return {"queries_at_most": self.queries, "wanted_share": self.wanted, "resamples": RESAMPLES}


@dataclass(frozen=True)
class Evaluator:
    """Models, what they are compared with, and where vectors come from."""

    subjects: Sequence[Subject]
    baselines: Sequence[Subject]
    settings: EvaluationSettings
    remember: Remember
    say: Say = lambda text: None
    with_bm25: bool = True

    def everything(self, data: Sequence[Collection | ScoredPairs]) -> dict[str, Any]:
        """The results of all collections and files of scored pairs, by name."""
        collections = {one.name: self.collection(one) for one in data if isinstance(one, Collection)}
        pairs = {one.name: self.similarity(one) for one in data if isinstance(one, ScoredPairs)}
        return {"settings": self.settings.to_json(), "collections": collections, "similarity": pairs}

    def collection(self, collection: Collection) -> dict[str, Any]:
        """Relevance by width for every model, the funnel's curve for the subjects, and BM25."""
        collection = collection.sampled(self.settings.queries)
        models = {one.name: self._retrieval(collection, one, funnel=True) for one in self.subjects}
        baselines = {one.name: self._retrieval(collection, one, funnel=False) for one in self.baselines}
        if self.with_bm25:
            self.say(f"{collection.name}: BM25")
            found = bm25(collection.documents, collection.queries, CUT)
            baselines["BM25"] = {"exact": rows([found], None, collection)[0]}
        result = {"task": collection.task, "documents": len(collection.documents), "queries": len(collection.queries)}
        return plain({**result, "left_out": list(collection.left_out), "models": models, "baselines": baselines})

    def similarity(self, pairs: ScoredPairs) -> dict[str, Any]:
        """Spearman's correlation of cosines and scores, by width."""
        pairs = pairs.sampled(self.settings.queries)
        models = {one.name: self._similarity(pairs, one) for one in self.subjects}
        baselines = {one.name: self._similarity(pairs, one) for one in self.baselines}
        return plain({"pairs": len(pairs.first), "models": models, "baselines": baselines})

    def _retrieval(self, collection: Collection, subject: Subject, funnel: bool) -> dict[str, Any]:
        self.say(f"{collection.name}: {subject.name}")
        documents = self.remember(subject.key, f"{collection.name}-documents", collection.documents, subject.documents)
        queries = self.remember(subject.key, f"{collection.name}-queries", collection.queries, subject.queries)
        widths = subject.widths(self.settings.widths)
        found = {width: best(prefixes(queries, width), prefixes(documents, width)).tolist() for width in widths}
        if not funnel:
            return self._by_width(collection, subject, found)
        ids, texts = collection.ids, collection.documents
        self.say(f"{collection.name}: the funnel of {subject.name}")
        with filled_store(subject.space, subject.options, ids, texts, documents) as searcher:
            found[subject.space.dim] = searcher.exact(queries).found
            curve = self._curve(searcher, queries, collection, found[subject.space.dim])
        return {**self._by_width(collection, subject, found), **curve}

    def _by_width(self, collection: Collection, subject: Subject, found: Mapping[int, Found]) -> dict[str, Any]:
        """The width curve and where it breaks; the first of `found` is the full width."""
        measured = rows(list(found.values()), found[subject.space.dim], collection)
        return described(subject, dict(zip(found, measured, strict=True)), self.settings.wanted)

    def _curve(self, searcher: Searcher, queries: np.ndarray, collection: Collection, exact: Found) -> dict[str, Any]:
        """The prefix alone, the default funnel and every plan at every shortlist, each with its measures."""
        space = searcher.store.space
        plans = self.settings.plans or default_plans(space.prefix_dim, space.dim)
        points = [searcher.prefix(queries), searcher.default(queries)]
        points += [point for plan in plans for point in searcher.curve(queries, plan, self.settings.shortlists)]
        measured = rows([point.found for point in points] + [exact], exact, collection)
        shown = [{**_place(point), **row} for point, row in zip(points, measured, strict=False)]
        return {"prefix": shown[0], "default": shown[1], "exact": measured[-1], "funnel": shown[2:]}

    def _similarity(self, pairs: ScoredPairs, subject: Subject) -> dict[str, Any]:
        self.say(f"{pairs.name}: {subject.name}")
        sides = (("first", pairs.first), ("second", pairs.second))
        both = [self.remember(subject.key, f"{pairs.name}-{side}", texts, subject.documents) for side, texts in sides]
        widths = subject.widths(self.settings.widths)
        alike = cosines(both[0], both[1], widths)
        found = correlations(alike, pairs.scores), correlation_shares(alike, alike[0], pairs.scores)
        measured = [{"spearman": value, "share": share} for value, share in zip(*found, strict=True)]
        return described(subject, dict(zip(widths, measured, strict=True)), self.settings.wanted)


def rows(found: Sequence[Found], exact: Found | None, collection: Collection) -> list[dict[str, Estimate]]:
    """Measures of several ways to search: means over queries with intervals; against exact search if it is given.

    `recall@10` is the overlap with exact search, `judged_recall@10` the share of the judged relevant documents;
    `share` is nDCG@10 as a share of exact search's.
    """
    each = [judged(one, collection.relevant) for one in found]
    values = {name: np.stack([one[name] for one in each]) for name in each[0]}
    if exact is not None:
        values["recall@10"] = np.array([list(_overlaps(one, exact)) for one in found])
    measured = {name: means(matrix) for name, matrix in values.items()}
    if exact is not None:
        measured["share"] = shares(values[MAIN], judged(exact, collection.relevant)[MAIN])
    return [dict(zip(measured, row, strict=True)) for row in zip(*measured.values(), strict=True)]


def described(subject: Subject, by_width: Mapping[int, dict[str, Estimate]], wanted: float) -> dict[str, Any]:
    """A width curve: its rows, what each halving costs, and the bottleneck."""
    share = {width: row["share"] for width, row in by_width.items()}
    lost = losses(share)
    trained = set(subject.trained) | {subject.space.dim}
    return {
        "dim": subject.space.dim,
        "prefix_dim": subject.space.prefix_dim,
        "fingerprint": subject.key,
        "widths": [
            {"width": width, "trained": width in trained, "lost_per_halving": lost.get(width), **row}
            for width, row in by_width.items()
        ],
        "bottleneck": bottleneck(share, wanted).to_json(),
    }


def plain(value: Any) -> Any:
    """Estimates as JSON has them."""
    if isinstance(value, Estimate):
        return value.to_json()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _overlaps(found: Found, exact: Found) -> Iterator[float]:
    return (recall_at_k(one, truth, CUT) for one, truth in zip(found, exact, strict=True))


def _place(point: Point) -> Row:
    return {"plan": point.plan, "shortlist": point.shortlist, "stages": [list(stage) for stage in point.stages]}

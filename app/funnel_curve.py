"""Answers of a real store on disk: exact, by the prefix alone, and through the funnel at every shortlist."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.plans import StagePlan, lean
from app.relevance import CUT
from index.document import Document
from index.options import StoreOptions
from index.plan import default_shortlist
from index.query import Query
from index.space import Space
from index.store import Store

LOAD = 4_096  # documents written at a time
ASKED = 64  # queries searched at a time
Found = list[list[int]]


@dataclass(frozen=True)
class Point:
    """One way to search: the plan's name, the stages that ran, and the rows found for every query, best first.

    `shortlist` is the length asked for; where it covers the collection the store scans full vectors instead.
    """

    plan: str
    shortlist: int
    stages: list[tuple[int, int]]
    found: Found


class Searcher:
    """A filled store, and the way from its ids back to positions of documents."""

    def __init__(self, store: Store, ids: Sequence[str]) -> None:
        self.store, self.rows = store, {doc_id: row for row, doc_id in enumerate(ids)}

    def point(self, plan: str, vectors: np.ndarray, query: Query) -> Point:
        """What one query plan finds for (q, dim) vectors."""
        blocks = (np.asarray(vectors[start : start + ASKED]) for start in range(0, len(vectors), ASKED))
        answers = [answer for block in blocks for answer in self.store.search(block, query)]
        found = [[self.rows[hit.doc_id] for hit in one.hits] for one in answers]
        return Point(plan, query.shortlist or answers[0].stages[0][1], answers[0].stages, found)

    def exact(self, vectors: np.ndarray) -> Point:
        """The oracle: a scan of the full vectors."""
        return self.point("exact", vectors, replace(lean(CUT), exact=True))

    def prefix(self, vectors: np.ndarray) -> Point:
        """The ranking of the first stage, without a rerank."""
        return self.point("prefix", vectors, replace(lean(CUT), rescore=False))

    def default(self, vectors: np.ndarray) -> Point:
        """What a request gets that names no shortlist."""
        point = self.point("default", vectors, lean(CUT))
        return replace(point, shortlist=default_shortlist(CUT, self.store.count()))

    def curve(self, vectors: np.ndarray, plan: StagePlan, shortlists: Sequence[int]) -> Iterator[Point]:
        """A point for each shortlist, up to the first that covers the collection."""
        space = self.store.space
        for shortlist, query in plan.queries(covering(shortlists, self.store.count()), CUT):
            point = self.point(plan.name(space.prefix_dim, space.dim), vectors, query)
            yield replace(point, shortlist=shortlist)


@contextmanager
def filled_store(
    space: Space, options: StoreOptions, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray
) -> Iterator[Searcher]:
    """A store in a temporary folder that holds the documents with their (n, dim) vectors."""
    with tempfile.TemporaryDirectory(prefix="funnel-evaluate-") as folder:
        store = Store.open(Path(folder) / "data", space, options)
        with closing(store):
            _fill(store, ids, texts, vectors)
            yield Searcher(store, ids)


def _fill(store: Store, ids: Sequence[str], texts: Sequence[str], vectors: np.ndarray) -> None:
    for start in range(0, len(ids), LOAD):
        stop = min(start + LOAD, len(ids))
        documents = [Document(ids[row], texts[row]) for row in range(start, stop)]
        store.write(documents, dict(enumerate(vectors[start:stop])))
    while store.stats()["shortlist"]["merging"]:
        time.sleep(0.1)


def covering(shortlists: Sequence[int], count: int) -> list[int]:
    """The shortlists, ascending; of those that cover the collection only the first, which is an exact search."""
    ascending = sorted({length for length in shortlists if length >= CUT})
    return [length for length in ascending if length < count] + [length for length in ascending if length >= count][:1]

"""Is a rotation worth applying? Learns candidates from a sample of an index and measures them on held-out queries.

The guard is one comparison, made query by query: at the shortlist where the index reaches a recall@10 nearest to 0.95
today, the candidate's recall must be higher, with the whole 95 % interval of the difference above 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from app.intervals import Estimate, means
from app.rotating import RotationSettings, learn, principal
from app.shortlists import K, energy, ladder, nearest, needed, needed_estimate, places, recalls
from index.errors import InvalidInput

WANTED = (0.95, 0.99)  # recall@10
FEWEST = 1_000  # documents
NARROWEST = 64  # numbers of a vector
HELD_OUT = 1_000  # documents that are queries, at most; a fifth of fewer
LEARNED_FROM = 20_000  # documents, at most: more were measured to gain nothing
BEFORE, PCA, LEARNED = "before", "pca", "learned"
Report = Callable[[str, int, int], None]  # what, done, of all


@dataclass(frozen=True)
class Material:
    """What is learned from, what is searched, and what is asked; unit rows of (., dim) float32."""

    learn: np.ndarray
    documents: np.ndarray
    queries: np.ndarray
    asked: str  # what the queries are


@dataclass(frozen=True)
class Candidate:
    """A rotation (None: none) and how it did: (q, 10) places, and width -> share of the squared norm in front."""

    name: str
    matrix: np.ndarray | None
    places: np.ndarray
    energy: dict[int, float]

    def to_json(self, shortlists: Sequence[int]) -> dict[str, Any]:
        """Recall by shortlist and the shortlists needed, with intervals; energy by width."""
        found = dict(zip(shortlists, means(recalls(self.places, shortlists)), strict=True))
        return {
            "recall@10": {str(length): estimate.to_json() for length, estimate in found.items()},
            "shortlist": {str(wanted): needed_estimate(self.places, wanted).to_json() for wanted in WANTED},
            "energy": {str(width): round(share, 6) for width, share in self.energy.items()},
        }


@dataclass(frozen=True)
class Comparison:
    """What is in force against what could be."""

    before: Candidate
    others: tuple[Candidate, ...]
    material: Material
    prefix_dim: int

    @property
    def best(self) -> Candidate:
        """The candidate with the shorter shortlist for a recall of 0.95; of equals the one learned last."""
        return min(reversed(self.others), key=lambda one: needed(one.places, WANTED[0]))

    @property
    def shortlist(self) -> int:
        """The measured shortlist at which the recall of before is nearest to 0.95."""
        shortlists = ladder(len(self.material.documents))
        off = np.abs(recalls(self.before.places, shortlists).mean(axis=1) - WANTED[0])
        return shortlists[int(off.argmin())]

    @property
    def gain(self) -> Estimate:
        """What the best candidate adds to the recall at `shortlist`, query by query."""
        before, after = (recalls(one.places, [self.shortlist]) for one in (self.before, self.best))
        return means(after - before)[0]

    @property
    def helps(self) -> bool:
        """Whether the best candidate is better beyond doubt."""
        return self.gain.low > 0

    @cached_property
    def report(self) -> dict[str, Any]:
        """Everything measured, as JSON."""
        shortlists = ladder(len(self.material.documents))
        return {
            "prefix_dim": self.prefix_dim,
            "queries": {"number": len(self.material.queries), "are": self.material.asked},
            "documents": len(self.material.documents),
            "learned_from": len(self.material.learn),
            "candidates": {one.name: one.to_json(shortlists) for one in (self.before, *self.others)},
            "best": self.best.name,
            "gain": {"shortlist": self.shortlist, "recall@10": self.gain.to_json()},
            "helps": self.helps,
        }


def check_size(documents: int, dim: int, prefix_dim: int) -> None:
    """Raise InvalidInput, with both numbers, where there is nothing to learn from or nothing to gain."""
    if documents < FEWEST:
        raise InvalidInput(f"a rotation is learned from at least {FEWEST:,} documents, there are {documents:,}")
    if dim < NARROWEST:
        raise InvalidInput(f"vectors of at least {NARROWEST} numbers can be rotated, these have {dim}")
    if prefix_dim >= dim:
        raise InvalidInput(f"the prefix has {prefix_dim} of {dim} numbers: it is the whole vector already")


def split(sample: np.ndarray, seed: int, queries: np.ndarray | None = None, asked: str = "documents") -> Material:
    """A sample of (n, dim) unit rows as material: without queries, some documents are held out to be the queries."""
    order = np.random.default_rng(seed).permutation(len(sample))
    held = min(HELD_OUT, len(sample) // 5) if queries is None else 0
    documents = sample[np.sort(order[held:])]
    learned = documents if len(documents) <= LEARNED_FROM else sample[np.sort(order[held : held + LEARNED_FROM])]
    return Material(learned, documents, sample[order[:held]] if queries is None else queries, asked)


def compare(
    material: Material,
    prefix_dim: int,
    in_force: np.ndarray | None,
    settings: RotationSettings,
    pca_only: bool = False,
    report: Report = lambda what, done, total: None,
) -> Comparison:
    """Learn the candidates and measure all of them; `in_force` is the (dim, dim) rotation of the index or None."""
    truth = nearest(material.queries, material.documents, K)
    matrices: dict[str, np.ndarray | None] = {BEFORE: in_force, PCA: principal(material.learn)}
    if not pca_only:
        matrices[LEARNED] = learn(material.learn, settings, lambda done, total: report("learning", done, total))
    measured = []
    for number, (name, matrix) in enumerate(matrices.items(), 1):
        found = places(material.queries, material.documents, truth, prefix_dim, matrix)
        measured.append(Candidate(name, matrix, found, energy(material.documents, settings.widths[::-1], matrix)))
        report("measuring", number, len(matrices))
    return Comparison(measured[0], tuple(measured[1:]), material, prefix_dim)

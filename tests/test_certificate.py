"""Certificates: a certified answer is the exact one, always; and there are cases in which one must be given."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import certificate, funnel
from index.allowed import Allowed
from index.exact import exact
from index.plan import Plan
from index.ranking import Ranking
from index.targeting import descend
from index.view import View
from index_cases import random_rotation
from recall_cases import allowed_of, collection, rule_of, unit, view_of

KINDS = ("random", "topics", "copies", "prefix alone", "tails alone", "adversary", "adversary")


def vectors_of(kind: str, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, 32) documents and a query: unrelated, known-item, or with the energy all in one part."""
    rng = np.random.default_rng(seed)
    if kind == "adversary":
        return adversary(rows, rng)
    documents = unit(rng.standard_normal((rows, 32))) if kind == "random" else collection(rows, 0, seed)[0]
    if kind == "copies":
        documents = unit(documents[rng.integers(rows, size=rows)] + 1e-7 * rng.standard_normal((rows, 32)))
    if kind == "prefix alone":
        documents[:, 8:] *= 1e-3
    if kind == "tails alone":
        documents[:, :8] *= 1e-3
    near = documents[rng.integers(rows)] + rng.choice([0.0, 0.01, 0.1, 0.5]) * rng.standard_normal(32)
    return unit(documents), unit(near)


def adversary(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Documents that have the highest score there can be for their prefix cosine, and a few that are shortlisted
    before them with scores about as high."""
    query = unit(rng.standard_normal(32) * np.where(np.arange(32) < 8, rng.uniform(0.5, 3), 1.0))
    prefix, tail = np.linalg.norm(query[:8]), np.linalg.norm(query[8:])
    cosines = rng.uniform(0.1, 0.9) + rng.uniform(-0.1, 0.1, size=rows)
    across = rng.standard_normal((rows, 8))
    across -= np.outer(across @ query[:8], query[:8]) / prefix**2
    fronts = np.outer(cosines, query[:8] / prefix) + np.sqrt(1 - cosines**2)[:, None] * unit(across)
    share = prefix * cosines / np.hypot(prefix * cosines, tail)  # where the score is highest
    share = np.clip(share + rng.choice([0.0, 0.1], size=rows) * rng.standard_normal(rows), 0, 1)
    backs = np.outer(np.sqrt(1 - share**2), query[8:] / tail)
    return unit(np.concatenate([fronts * share[:, None], backs], axis=1)), query


def narrowed(view: View, query: np.ndarray, shortlist: int, wanted: int, allowed: Allowed | None) -> Ranking:
    """A shortlist of given length, reranked."""
    return funnel.search(view, query[None], Plan(((8, shortlist), (32, wanted)), wanted, "request"), allowed)[0]


def check(view: View, query: np.ndarray, ranking: Ranking, wanted: int, allowed: Allowed | None) -> None:
    """When certified, the scores are the best there are, each of its row."""
    if not ranking.certified:
        return
    (rows, scores) = exact(view, query[None], wanted, allowed.mask() if allowed else None)[0]
    found, best = ranking.scores[:wanted], scores[:wanted]
    assert len(found) == min(wanted, len(rows))
    np.testing.assert_allclose(found, best, atol=1e-6, rtol=0)
    np.testing.assert_allclose(view.codec.scores(view.matrix, ranking.rows, query), ranking.scores, atol=1e-6, rtol=0)
    surely = rows[:wanted][best > best[-1] + 1e-6] if len(best) else rows
    assert set(surely.tolist()) <= set(ranking.rows[:wanted].tolist())


ANYTHING = (
    st.sampled_from(KINDS),
    st.integers(0, 1_000_000),
    st.sampled_from(["float32", "int16", "bfloat16", "int8"]),
    st.sampled_from(["flat", "rotated", "graph", "codes"]),
    st.sampled_from([None, 0.5, 0.05]),
    st.integers(1, 12),
    st.integers(0, 100),
)


def tried(kind: str, seed: int, storage: str, how: str, share: float | None, wanted: int, more: int) -> None:
    """Whatever the storage, rotation, first stage, filter, documents and shortlist; the same of a descent."""
    vectors, query = vectors_of(kind, 250, seed)
    rotation = random_rotation(seed=seed) if how == "rotated" else None
    graph = 200 if how in ("graph", "codes") else 0
    view = view_of(vectors, storage, graph, "int8" if how == "codes" else "float32", rotation)
    allowed = None if share is None else allowed_of(np.random.default_rng(seed).random(250) < share)
    check(view, query, narrowed(view, query, wanted + more, wanted, allowed), wanted, allowed)
    plan = Plan(((8, 250), (32, wanted)), wanted, "calibration", target=0.9)
    check(view, query, descend(view, query, plan, rule_of(-1.0 - more / 20), allowed, None), wanted, allowed)


@settings(max_examples=200)
@given(*ANYTHING)
def test_a_certified_answer_is_the_exact_one(
    kind: str, seed: int, storage: str, how: str, share: float | None, wanted: int, more: int
) -> None:
    """Of whatever the strategies make."""
    tried(kind, seed, storage, how, share, wanted, more)


@pytest.mark.long
@settings(max_examples=10_000)
@given(*ANYTHING)
def test_ten_thousand_searches_get_no_wrong_certificate(
    kind: str, seed: int, storage: str, how: str, share: float | None, wanted: int, more: int
) -> None:
    """The same, for longer."""
    tried(kind, seed, storage, how, share, wanted, more)


@pytest.mark.parametrize("storage", ["float32", "int16", "bfloat16", "int8"])
def test_known_items_are_certified(storage: str) -> None:
    """A query that is a stored row, most of it in the prefix: nothing else can be as near, and it is said."""
    vectors = unit(np.random.default_rng(0).standard_normal((500, 32)) * np.where(np.arange(32) < 8, 1.0, 0.1))
    view = view_of(vectors, storage)
    rotated = view_of(vectors @ random_rotation().T, storage, rotation=random_rotation())
    plan = Plan(((8, 500), (32, 1)), 1, "calibration", target=0.9)
    for row in range(50):
        assert narrowed(view, vectors[row], 30, 1, None).certified
        assert narrowed(rotated, unit(vectors[row] @ random_rotation().T), 30, 1, None).certified
        ranking = descend(view, vectors[row], plan, rule_of(-4.0), None, None)
        assert (ranking.certified, ranking.estimate, ranking.exact) == (True, (1.0, 1.0), False)
        assert ranking.rows[0] == row


def test_a_graph_is_not_trusted() -> None:
    """It may have passed over a row: no certificate, unless a narrow filter made it a scan of float prefixes."""
    vectors = unit(np.random.default_rng(0).standard_normal((500, 32)) * np.where(np.arange(32) < 8, 1.0, 0.1))
    narrow = allowed_of(np.arange(500) < 40)
    for codes, trusted in (("float32", True), ("int8", False)):
        view = view_of(vectors, in_graph=400, codes=codes)
        assert not narrowed(view, vectors[0], 100, 1, None).certified
        assert narrowed(view, vectors[0], 20, 1, narrow).certified == trusted
        assert narrowed(view, vectors[0], 500, 1, None).certified  # everything was compared


def test_a_corrected_descent_is_certified_by_nothing_but_exhaustion() -> None:
    """The order hides what the best prefix left is."""
    vectors = unit(np.random.default_rng(0).standard_normal((500, 32)) * np.where(np.arange(32) < 8, 1.0, 0.1))
    view, plan = view_of(vectors), Plan(((8, 500), (32, 1)), 1, "calibration", target=0.9)
    assert not descend(view, vectors[0], plan, rule_of(-6.0), None, None).certified
    everything = descend(view, vectors[0], plan, rule_of(-60.0), None, None)
    assert (everything.certified, everything.exact) == (True, True)


def worst(query: np.ndarray, cosine: float) -> float:
    """The highest score of a unit row with this prefix cosine, over all shares that its prefix may have (float64)."""
    share = np.linspace(0, 1, 100_001)
    prefix, tail = np.linalg.norm(query[:8].astype(np.float64)), np.linalg.norm(query[8:].astype(np.float64))
    return float((share * prefix * cosine + np.sqrt(1 - share**2) * tail).max())


@pytest.mark.parametrize("energy", [0.0, 1e-4, 0.3, 0.9, 0.9999999, 1.0])
@pytest.mark.parametrize("cosine", [-0.5, 0.0, 1e-4, 0.4, 0.99, 1.0])
def test_the_bound_is_that_of_the_worst_row(energy: float, cosine: float) -> None:
    """Never below it, and hardly above: by Cauchy and Schwarz it is reached."""
    parts = np.random.default_rng(1).standard_normal(32)
    parts[:8] *= math.sqrt(energy) / np.linalg.norm(parts[:8])
    parts[8:] *= math.sqrt(1 - energy) / np.linalg.norm(parts[8:])
    query = parts.astype(np.float32)
    view = view_of(query[None])
    bound = certificate.bound(view, view.prefix(query)[1], cosine)
    highest = max(worst(query, max(cosine, 0.0)), worst(query, cosine))
    assert highest <= bound <= highest + 1.1e-3


def test_a_matrix_that_is_not_quite_orthogonal_widens_the_bound() -> None:
    """The largest defect that a rotation may have adds up along one direction; the bound holds for rows along it."""
    matrix = (np.eye(32) + 4.9e-6 * np.ones((32, 32))).astype(np.float32)
    rows = unit(
        np.concatenate([np.ones((1, 32)), -np.ones((1, 32)), np.random.default_rng(0).standard_normal((50, 32))])
    )
    view = view_of(rows, rotation=matrix)
    for query in rows:
        cosines, scores = view.prefixes(rows) @ view.prefixes(query[None])[0], rows.astype(np.float64) @ query
        for cosine, score in zip(cosines, scores, strict=True):
            assert score <= certificate.bound(view, view.prefix(query)[1], float(cosine))
    assert certificate.bound(view, 0.5, 0.5) > certificate.bound(view_of(rows), 0.5, 0.5) + 1e-4

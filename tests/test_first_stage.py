"""The first stage: the best prefixes among the rows that a filter lets pass."""

import itertools

import numpy as np
import pytest

from index.first_stage import compared, first_stage
from index.view import View
from recall_cases import allowed_of, collection, view_of

ROWS, QUERIES = collection(3_000, 20)
FLAT, GRAPH = view_of(ROWS), view_of(ROWS, in_graph=2_500)
RNG = np.random.default_rng(0)
MASKS = {"all": None, "most": RNG.random(3_000) < 0.7, "some": RNG.random(3_000) < 0.1, "few": RNG.random(3_000) < 0.01}


def order(view: View, direction: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """All allowed rows by prefix score, by brute force."""
    rows = np.arange(3_000) if mask is None else np.flatnonzero(mask)
    scores = view.prefixes(ROWS)[rows] @ direction
    best = np.lexsort((rows, -scores))
    return rows[best], scores[best]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("keep", [1, 20, 400, 5_000])
def test_a_flat_first_stage_is_exact(name: str, keep: int) -> None:
    """For any direction, unit or not, and any filter: the best rows, best first, with their inner products."""
    mask = MASKS[name]
    for direction in (FLAT.prefixes(QUERIES)[0], -3.0 * FLAT.prefixes(QUERIES)[1]):
        rows, scores, strategy = first_stage(FLAT, direction, keep, None if mask is None else allowed_of(mask))
        right, best = order(FLAT, direction, mask)
        assert strategy == ("none" if mask is None else "exact_subset")
        assert len(rows) == min(keep, len(right))
        np.testing.assert_allclose(scores, best[:keep], atol=1e-5)
        assert len(np.intersect1d(rows, right[:keep])) >= len(rows) - 1  # two may tie at the end


@pytest.mark.parametrize("name", MASKS)
def test_a_longer_list_begins_with_a_shorter_one(name: str) -> None:
    """With a flat first stage, whatever the filter: recall can only grow with the shortlist."""
    allowed = None if MASKS[name] is None else allowed_of(MASKS[name])
    prefix = FLAT.prefixes(QUERIES)[0]
    lists = [first_stage(FLAT, prefix, keep, allowed)[0].tolist() for keep in (3, 30, 299, 3_000)]
    for short, long in itertools.pairwise(lists):
        assert long[: len(short)] == short


def test_a_graph_finds_what_a_scan_finds_nearly_and_deeper_more() -> None:
    """Only allowed rows, with and without a filter that goes into the graph; depth costs time and brings recall."""
    shares = []
    for depth in (1.0, 4.0):
        found = 0
        for prefix in GRAPH.prefixes(QUERIES):
            rows, _, strategy = first_stage(GRAPH, prefix, 20, None, depth)
            assert strategy == "none"
            found += len(np.intersect1d(rows, order(GRAPH, prefix, None)[0][:20]))
        shares.append(found / (20 * len(QUERIES)))
    assert 0.8 < shares[0] <= shares[1]
    most = MASKS["most"]
    assert most is not None
    for prefix in GRAPH.prefixes(QUERIES):
        rows, _, strategy = first_stage(GRAPH, prefix, 20, allowed_of(most))
        assert strategy == "in_graph"
        assert most[rows].all()
        assert len(set(rows.tolist())) == 20


def test_a_narrow_filter_over_a_graph_is_scanned() -> None:
    """Few rows are compared one by one, exactly."""
    few = MASKS["few"]
    assert few is not None
    rows, _, strategy = first_stage(GRAPH, GRAPH.prefixes(QUERIES)[0], 10, allowed_of(few))
    assert strategy == "exact_subset"
    assert rows.tolist() == order(GRAPH, GRAPH.prefixes(QUERIES)[0], few)[0][:10].tolist()


def test_the_number_of_comparisons_is_known_without_a_graph() -> None:
    """All rows, or those of a narrow filter; a graph does not tell, but where it was not used."""
    few, most = (allowed_of(mask) for mask in (MASKS["few"], MASKS["most"]) if mask is not None)
    assert compared(FLAT, 10, None, "none") == 3_000
    assert compared(FLAT, 10, most, "exact_subset") == 3_000
    assert compared(FLAT, 10, few, "exact_subset") == few.count
    assert compared(GRAPH, 10, None, "none") is None
    assert compared(GRAPH, 10, most, "in_graph") is None
    assert compared(GRAPH, 10, few, "exact_subset") == few.count
    assert compared(GRAPH, 3_000, None, "none") == 3_000

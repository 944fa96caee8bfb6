"""Descents of known outcome: rows, signs and what was missing, checked against exact search."""

import numpy as np
import pytest

from index.allowed import Allowed
from index.descent import Descent
from index.exact import exact
from index.tracing import BEYOND, Trace, trace
from index.view import View
from recall_cases import allowed_of, collection, view_of

ROWS, QUERIES = collection(1_200, 12)
KS = (1, 10, 30)
VIEWS = {"flat": view_of(ROWS), "graph": view_of(ROWS, in_graph=1_000), "int8": view_of(ROWS, "int8")}


def traced(view: View, query: np.ndarray, most: int = 1_200, allowed: Allowed | None = None, **how: bool) -> Trace:
    """A trace for the exact k-th scores."""
    scores = exact(view, query[None], max(KS), allowed.mask() if allowed else None)[0][1]
    return trace(view, query, [float(scores[k - 1]) for k in KS], KS, most, allowed, **how)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("corrects", [False, True])
def test_missing_is_what_exact_search_has_and_the_rows_do_not(name: str, filtered: bool, corrects: bool) -> None:
    """At every length; it never rises, and nothing is missing at the end."""
    view, allowed = VIEWS[name], allowed_of(np.arange(1_200) % 4 == 0) if filtered else None
    for query in QUERIES:
        told = traced(view, query, allowed=allowed, corrects=corrects)
        best = exact(view, query[None], max(KS), allowed.mask() if allowed else None)[0][0]
        descent = Descent(view, query, allowed, corrects=corrects)
        for place, rows in enumerate(told.rows):
            descent.extend(int(rows))
            for row, k in enumerate(KS):
                expected = 1 - np.isin(best[:k], descent.rows).mean() if rows >= k else 1.0
                assert told.missing[row, place] == pytest.approx(expected)
                if rows >= k:
                    np.testing.assert_allclose(told.signs[row, place], descent.signs(k), rtol=1e-5, atol=1e-5)
        assert (np.diff(told.rows) > 0).all()
        assert (np.diff(told.missing, axis=1) <= 0).all()
        assert not told.missing[:, -1].any()


def test_it_ends_a_little_after_everything_was_found() -> None:
    """Not at the bottom: the lengths on which nothing is missing are one more than are followed beyond the first."""
    lengths = [(~traced(VIEWS["flat"], query).missing.any(axis=0)).sum() for query in QUERIES]
    assert max(lengths) <= BEYOND + 1
    assert min(traced(VIEWS["flat"], query).rows[-1] for query in QUERIES) < 1_200


def test_it_is_no_longer_than_it_may_be() -> None:
    """What lies deeper stays missing, but every k has a length of its own."""
    for query in QUERIES:
        told = traced(VIEWS["flat"], query, most=20)
        assert told.rows.tolist() == [8, 10, 16, 20, 30]
        assert told.missing.shape == (3, 5)
        assert told.missing[1, 0] == 1.0  # eight rows cannot be ten


def test_a_tie_with_the_last_is_as_good() -> None:
    """Of equal documents any k will do."""
    rows = ROWS.copy()
    rows[:400] = rows[0]
    told = traced(view_of(rows), rows[0])
    assert told.missing[:2, 1].tolist() == [0.0, 0.0]  # at ten rows

"""Normalisation and prefixes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import InvalidVector
from index.matryoshka import check_vector, normalise, prefixes

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=200)
@given(st.lists(finite, min_size=1, max_size=8).filter(any))
def test_any_finite_vector_with_a_direction_becomes_a_unit_vector(numbers: list[float]) -> None:
    """Denormals and the largest floats keep their direction and get norm 1."""
    vector = np.array(numbers, dtype=np.float32)
    unit = normalise(vector[None])[0]
    assert abs(np.linalg.norm(unit.astype(np.float64)) - 1) < 1e-6
    exact = vector.astype(np.float64) / np.abs(vector).max().astype(np.float64)
    assert np.allclose(unit, exact / np.linalg.norm(exact), atol=1e-6)


def test_the_input_is_left_alone() -> None:
    """Normalising makes new rows."""
    rows = np.array([[3.0, 4.0]], dtype=np.float32)
    assert normalise(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert prefixes(rows, 1).tolist() == [[1.0]]
    assert rows.tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_a_row_without_a_direction_is_refused(bad: float) -> None:
    """One bad row among good ones is an InvalidVector."""
    with pytest.raises(InvalidVector):
        normalise(np.array([[1.0, 2.0], [bad, 0.0]], dtype=np.float32))


def test_no_rows_are_no_rows() -> None:
    """Empty input gives empty output of the right width."""
    assert normalise(np.empty((0, 4), dtype=np.float32)).shape == (0, 4)
    assert prefixes(np.empty((0, 4), dtype=np.float32), 2).shape == (0, 2)


@settings(max_examples=100)
@given(st.lists(finite, min_size=4, max_size=4).filter(any), st.integers(1, 4))
def test_a_prefix_is_the_first_numbers_made_a_unit_vector(numbers: list[float], dim: int) -> None:
    """The prefix has norm 1, even when little of the vector is in it, and is zero when nothing is."""
    full = normalise(np.array([numbers], dtype=np.float32))
    prefix = prefixes(full, dim)[0]
    assert prefix.dtype == np.float32
    expected = 1.0 if full[0, :dim].any() else 0.0
    assert abs(np.linalg.norm(prefix.astype(np.float64)) - expected) < 1e-6
    assert (np.sign(prefix) * np.sign(full[0, :dim]) >= 0).all()


def test_a_rotation_turns_the_vector_before_it_is_cut() -> None:
    """With a rotation that swaps the axes, the prefix is the last number."""
    swap = np.array([[0, 1], [1, 0]], dtype=np.float32)
    full = normalise(np.array([[3.0, -4.0]]))
    assert prefixes(full, 1, swap).tolist() == [[-1.0]]
    assert np.allclose(prefixes(full, 2, swap), [[-0.8, 0.6]])


@pytest.mark.parametrize(
    "bad",
    [
        [1.0, np.nan],
        [np.inf, 1.0],
        [0.0, -0.0],
        [1e300, 1.0],
        [10**400, 1],
        [[1.0, 2.0]],
        [],
        ["a", "b"],
        [None, 1.0],
        [1.0, 2.0, 3.0],
        [1e-60, 0.0],
    ],
    ids=str,
)
def test_what_is_not_a_vector_is_refused(bad: object) -> None:
    """NaN, Inf, zeros, overflow, other shapes, lengths and types are an InvalidVector, and nothing is warned of."""
    with pytest.raises(InvalidVector):
        check_vector(bad, 2)  # type: ignore[arg-type]


def test_a_checked_vector_is_contiguous_float32() -> None:
    """Any layout and number type is taken."""
    row = check_vector(np.arange(1, 9, dtype=np.int64)[::2], 4)
    assert row.dtype == np.float32
    assert row.flags.c_contiguous
    assert row.tolist() == [1, 3, 5, 7]


def test_a_signalling_nan_is_refused_without_a_warning() -> None:
    """Bytes of somebody else's may hold one, anywhere."""
    for place in range(40):
        row = np.ones(40, dtype=np.float32)
        row.view(np.uint32)[place] = 0x7F80_0001
        with pytest.raises(InvalidVector, match="NaN or Inf"):
            check_vector(row)

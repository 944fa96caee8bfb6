"""Packed bitmaps of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import bits
from index.allowed import Allowed


@settings(max_examples=100)
@given(st.lists(st.booleans(), max_size=70))
def test_pack_and_unpack_are_inverse(mask: list[bool]) -> None:
    """What is packed comes back, and is counted, whatever its length."""
    packed = bits.pack(np.array(mask, dtype=bool))
    assert bits.unpack(packed, len(mask)).tolist() == mask
    assert bits.count(packed) == sum(mask)


@settings(max_examples=100)
@given(st.lists(st.booleans(), max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_rows_between_two(mask: list[bool], one: int, other: int) -> None:
    """Wherever in a byte they begin and end; none at the end."""
    start, stop = sorted(min(row, len(mask)) for row in (one, other))
    assert bits.between(bits.pack(np.array(mask, dtype=bool)), start, stop).tolist() == mask[start:stop]


@settings(max_examples=200)
@given(st.data())
def test_changed_sets_the_new_rows_and_clears_the_dead(data: st.DataObject) -> None:
    """New rows are live, dead ones are not, whether old or new; everything else and the input stay as they are."""
    before = data.draw(st.lists(st.booleans(), max_size=40))
    rows = len(before) + data.draw(st.integers(0, 40))
    dead = data.draw(st.lists(st.integers(0, rows - 1), max_size=10)) if rows else []
    packed = bits.pack(np.array(before, dtype=bool))
    copy = packed.copy()
    expected = before + [True] * (rows - len(before))
    for row in dead:
        expected[row] = False
    changed = bits.changed(packed, len(before), rows, dead)
    assert bits.unpack(changed, rows).tolist() == expected
    assert bits.count(changed) == sum(expected)  # no bit past the last row
    assert (packed == copy).all()


@pytest.mark.parametrize("rows", [0, 1, 8, 13])
def test_allowed_rows_as_mask_and_positions(rows: int) -> None:
    """An Allowed tells the same rows as a mask and as ascending positions."""
    mask = np.arange(rows) % 3 == 1
    allowed = Allowed(bits.pack(mask), int(mask.sum()), rows)
    assert allowed.mask().tolist() == mask.tolist()
    assert allowed.positions.tolist() == np.flatnonzero(mask).tolist()

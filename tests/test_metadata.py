"""Metadata taken apart for the inverted table."""

import math
from typing import Any

import pytest

from index.metadata import MAX_DEPTH, entries, typed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ("z", "")),
        (True, ("b", 1)),
        (False, ("b", 0)),
        (1, ("n", 1)),
        (1.5, ("n", 1.5)),
        ("1", ("s", "1")),
        ("", ("s", "")),
        (2**63 - 1, ("n", 2**63 - 1)),
        (-(2**63), ("n", -(2**63))),
        (2**63, ("n", float(2**63))),
        (10**400, ("n", math.inf)),
        (-(10**400), ("n", -math.inf)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_scalar_has_a_type_and_a_value(value: Any, expected: tuple[str, Any]) -> None:
    """Booleans are no numbers, and integers that SQLite cannot hold become the nearest float."""
    kind, stored = typed(value)
    assert (kind, stored) == expected
    assert type(stored) is type(expected[1])


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, []),
        ({"a": 1}, [("a", "n", 1)]),
        ({"a": {"b": {"c": "x"}}}, [("a", "o", ""), ("a.b", "o", ""), ("a.b.c", "s", "x")]),
        ({"a": {}}, [("a", "o", "")]),
        ({"a": []}, [("a", "a", "")]),
        ({"a": [1, "1", [2]]}, [("a", "n", 1), ("a", "s", "1"), ("a", "n", 2)]),
        ({"a": [{"b": 1}, {"b": 2}]}, [("a", "o", ""), ("a.b", "n", 1), ("a.b", "n", 2)]),
        ({"": 1}, [("", "n", 1)]),
        ({"": {"b": 1}}, [("", "o", ""), (".b", "n", 1)]),
        ({"a.b": 1}, [("a.b", "n", 1)]),
        ({"a": {"": 1}}, [("a", "o", ""), ("a.", "n", 1)]),
    ],
    ids=str,
)
def test_objects_give_dotted_keys_and_arrays_an_entry_an_element(metadata: Any, expected: list[Any]) -> None:
    """Also empty ones, empty keys, and keys that hold dots."""
    assert set(entries(metadata)) == set(expected)


def test_depth_is_bounded() -> None:
    """64 levels are taken, 65 are not."""
    nested: Any = 1
    for _ in range(MAX_DEPTH - 1):
        nested = {"k": nested}
    assert len(list(entries({"k": nested}))) == MAX_DEPTH
    with pytest.raises(ValueError, match="at most 64 deep"):
        list(entries({"k": {"k": nested}}))

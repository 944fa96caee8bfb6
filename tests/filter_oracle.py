"""Filters read by brute force in Python, and strategies that make metadata and filters for it."""

import operator
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SCALARS: list[Any] = [None, True, False, 0, 1, -1, 1.0, -0.0, 1.5, 2**53 + 1, float(2**53), 2**63, 2**64, 10**400]
SCALARS += ["", "a", "b", "é", "1", "true", "\0", "🦀", "￿"]
KEYS = ["a", "b", "c", "", "a.b", "a.", ".b"]
COMPARE = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}

scalars = st.sampled_from(SCALARS)
numbers_and_texts = st.sampled_from([s for s in SCALARS if s is not None and not isinstance(s, bool)])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2),
    max_leaves=5,
)
metadatas = st.dictionaries(st.sampled_from(["a", "b", "c", ""]), values, max_size=3)
conditions = st.one_of(
    scalars,
    st.fixed_dictionaries({"$eq": scalars}),
    st.fixed_dictionaries({"$ne": scalars}),
    st.fixed_dictionaries({"$contains": scalars}),
    st.fixed_dictionaries({"$in": st.lists(scalars, max_size=4)}),
    st.fixed_dictionaries({"$nin": st.lists(scalars, max_size=4)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.dictionaries(st.sampled_from(list(COMPARE)), numbers_and_texts, min_size=1, max_size=2),
    st.fixed_dictionaries({"$not": st.dictionaries(st.sampled_from(list(COMPARE)), numbers_and_texts, min_size=1)}),
)
plain = st.dictionaries(st.sampled_from(KEYS), conditions, min_size=1, max_size=2)
filters: st.SearchStrategy[dict[str, Any]] = st.builds(dict[str, Any]) | st.recursive(
    plain,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=4,
)


def reach(value: Any, path: str, key: str) -> Iterator[Any]:
    """Every value that a key names: through objects by dots, through arrays by their elements."""
    if isinstance(value, list):
        if not value and path == key:
            yield []
        for element in value:
            yield from reach(element, path, key)
    elif isinstance(value, dict):
        if path == key:
            yield {}
        for inner, element in value.items():
            yield from reach(element, f"{path}.{inner}", key)
    elif path == key:
        yield value


def named(metadata: dict[str, Any], key: str) -> list[Any]:
    """All values of a key."""
    return [found for top, value in metadata.items() for found in reach(value, top, key)]


def kind(value: Any) -> str:
    """The type that has to agree."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def number(value: Any) -> Any:
    """Integers beyond 64 bits are kept as the nearest float."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 10**300 else float("inf") * (1 if value > 0 else -1)
    return value


def same(value: Any, wanted: Any) -> bool:
    """Equal and of one type."""
    return kind(value) == kind(wanted) and number(value) == number(wanted)


def holds(metadata: dict[str, Any], key: str, op: str, operand: Any) -> bool:
    """One operator on one key."""
    found = named(metadata, key)
    match op:
        case "$eq" | "$contains":
            return any(same(value, operand) for value in found)
        case "$ne":
            return not any(same(value, operand) for value in found)
        case "$in":
            return any(same(value, wanted) for value in found for wanted in operand)
        case "$nin":
            return not any(same(value, wanted) for value in found for wanted in operand)
        case "$exists":
            return bool(found) == operand
        case "$not":
            return not all(holds(metadata, key, inner, value) for inner, value in operand.items())
    return any(kind(v) == kind(operand) and COMPARE[op](number(v), number(operand)) for v in found)


def matches(metadata: dict[str, Any], filter: dict[str, Any]) -> bool:
    """Whether a document's metadata satisfies a filter."""
    for key, value in filter.items():
        match key:
            case "$and":
                ok = all(matches(metadata, part) for part in value)
            case "$or":
                ok = any(matches(metadata, part) for part in value)
            case "$not":
                ok = not matches(metadata, value)
            case _ if isinstance(value, dict):
                ok = all(holds(metadata, key, op, operand) for op, operand in value.items())
            case _:
                ok = holds(metadata, key, "$eq", value)
        if not ok:
            return False
    return True

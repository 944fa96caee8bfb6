"""Mongo-style filters: parsed and checked once, then answered from the inverted table as bitmaps.

A condition on a key holds when one of the key's values satisfies it (an array holds several). A value of
another type never satisfies it. A missing key satisfies only `$exists: false`, `$ne`, `$nin` and `$not`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from index.document import is_unicode
from index.errors import InvalidFilter
from index.metadata import entries, typed

MAX_DEPTH = 32
MAX_CONDITIONS = 1_000
MAX_KEYS = MAX_CONDITIONS * (MAX_DEPTH + 1)  # that so many conditions can have
MAX_VALUES = 10_000  # of one $in
COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
# As SQLite compares: numbers by value, texts by code point.
COMPARE: dict[str, Callable[[Any, tuple[Any, ...]], bool]] = {
    "=": lambda value, values: value == values[0],
    "IN": lambda value, values: value in values,
    ">": lambda value, values: value > values[0],
    ">=": lambda value, values: value >= values[0],
    "<": lambda value, values: value < values[0],
    "<=": lambda value, values: value <= values[0],
}
OPERATORS = ("$eq", "$ne", "$in", "$nin", *COMPARISONS, "$exists", "$contains")
COMBINATIONS = ("$and", "$or", "$not")


@dataclass(frozen=True)
class Condition:
    """One look-up in the inverted table.

    `comparison` is a SQL operator with one value of a type, IN with several, or None for "the key exists".
    """

    key: str
    comparison: str | None = None
    type: str = ""
    values: tuple[str | int | float, ...] = ()


@dataclass(frozen=True)
class Both:
    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Either:
    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Not:
    part: "Node"


Node = Condition | Both | Either | Not


def parse(filter: Mapping[str, Any]) -> Node:
    """The tree of a filter; raises InvalidFilter with the place of the fault."""
    _check_size(filter)
    node = _object(filter, "filter", 0)
    if (count := _count(node)) > MAX_CONDITIONS:
        raise InvalidFilter(f"a filter has at most {MAX_CONDITIONS} conditions, got {count}")
    return node


def bitmap(node: Node, rows_of: Callable[[Condition], np.ndarray], live: np.ndarray) -> np.ndarray:
    """Packed bitmap (uint8, bit r of byte r >> 3) of the live rows that satisfy the filter."""
    if isinstance(node, Condition):
        return rows_of(node) & live
    if isinstance(node, Not):
        return ~bitmap(node.part, rows_of, live) & live
    parts = (bitmap(part, rows_of, live) for part in node.parts)  # one at a time: there may be a thousand
    return reduce(np.bitwise_and if isinstance(node, Both) else np.bitwise_or, parts) if node.parts else live


def matches(node: Node, metadata: dict[str, Any]) -> bool:
    """Whether metadata satisfies the filter: what the inverted table answers for a row with it."""
    named: dict[str, list[tuple[str, Any]]] = {}
    for key, kind, value in entries(metadata):
        named.setdefault(key, []).append((kind, value))
    return _holds(node, named)


def _holds(node: Node, named: Mapping[str, list[tuple[str, Any]]]) -> bool:
    match node:
        case Condition(key, str(comparison), kind, values):
            return any(own == kind and COMPARE[comparison](value, values) for own, value in named.get(key, ()))
        case Condition(key):
            return key in named
        case Not(part):
            return not _holds(part, named)
        case Both(parts):
            return all(_holds(part, named) for part in parts)
        case Either(parts):
            return any(_holds(part, named) for part in parts)


def _check_size(filter: Any) -> None:
    """Raise InvalidFilter for one that has far too many conditions, before they are looked at one by one."""
    keys, waiting = 0, [filter] if isinstance(filter, Mapping | list) else []
    while waiting:
        here = waiting.pop()
        keys += len(here) if isinstance(here, Mapping) else 0
        if (most := max(keys, len(here))) > MAX_KEYS:
            raise InvalidFilter(f"a filter has at most {MAX_KEYS} keys, and as many values in a list, got {most}")
        parts = here.values() if isinstance(here, Mapping) else here
        waiting.extend(part for part in parts if isinstance(part, Mapping | list))


def _object(filter: Any, place: str, depth: int) -> Node:
    if not isinstance(filter, Mapping):
        raise InvalidFilter(f"{place} must be an object, got {_kind(filter)}")
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"a filter is nested at most {MAX_DEPTH} deep")
    if not filter and depth > 0:  # only the whole filter may be empty, where no filter is meant
        raise InvalidFilter(f"{place} is empty; leave it out or name a condition")
    parts = tuple(_member(key, value, place, depth + 1) for key, value in filter.items())
    return parts[0] if len(parts) == 1 else Both(parts)


def _member(key: str, value: Any, place: str, depth: int) -> Node:
    here = f"{place}.{key}"
    if not isinstance(key, str) or not is_unicode(key):
        raise InvalidFilter(f"{place} has a key that is not valid Unicode: {key!r}")
    if key == "$not":
        return Not(_object(value, here, depth))
    if key in ("$and", "$or"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InvalidFilter(f"{here} must be a non-empty list of filters, got {_kind(value)}")
        parts = tuple(_object(part, f"{here}[{i}]", depth) for i, part in enumerate(value))
        return Both(parts) if key == "$and" else Either(parts)
    if key.startswith("$"):
        raise InvalidFilter(f"{here}: unknown operator; known are {', '.join(COMBINATIONS)} here")
    if not isinstance(value, Mapping):
        return _equals(key, value, here)
    if not value:
        raise InvalidFilter(f"{here} is an empty condition")
    conditions = tuple(_condition(key, operator, operand, here, depth) for operator, operand in value.items())
    return conditions[0] if len(conditions) == 1 else Both(conditions)


def _condition(key: str, operator: str, operand: Any, place: str, depth: int) -> Node:
    here = f"{place}.{operator}"
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"a filter is nested at most {MAX_DEPTH} deep")
    match operator:
        case "$eq" | "$contains":
            return _equals(key, operand, here)
        case "$ne":
            return Not(_equals(key, operand, here))
        case "$in" | "$nin":
            if not isinstance(operand, Sequence) or isinstance(operand, str):
                raise InvalidFilter(f"{here} must be a list, got {_kind(operand)}")
            among = _among(key, operand, here)
            return Not(among) if operator == "$nin" else among
        case "$exists":
            if not isinstance(operand, bool):
                raise InvalidFilter(f"{here} must be true or false, got {_kind(operand)}")
            return Condition(key) if operand else Not(Condition(key))
        case "$not":
            if not isinstance(operand, Mapping) or not operand:
                raise InvalidFilter(f"{here} must be a condition such as {{'$gt': 3}}, got {_kind(operand)}")
            parts = (_condition(key, op, value, here, depth + 1) for op, value in operand.items())
            return Not(Both(tuple(parts)))
        case _ if operator in COMPARISONS:
            if isinstance(operand, bool) or not isinstance(operand, int | float | str):
                raise InvalidFilter(f"{here} must be a number or a string, got {_kind(operand)}")
            _check_scalar(operand, here)
            kind, value = typed(operand)
            return Condition(key, COMPARISONS[operator], kind, (value,))
    raise InvalidFilter(f"{here}: unknown operator; known are {', '.join(OPERATORS)}, $not")


def _equals(key: str, value: Any, place: str) -> Condition:
    _check_scalar(value, place)
    kind, typed_value = typed(value)
    return Condition(key, "=", kind, (typed_value,))


def _among(key: str, values: Sequence[Any], place: str) -> Node:
    if len(values) > MAX_VALUES:
        raise InvalidFilter(f"{place} has at most {MAX_VALUES} values, got {len(values)}")
    by_type: dict[str, list[str | int | float]] = {}
    for i, value in enumerate(values):
        _check_scalar(value, f"{place}[{i}]")
        kind, typed_value = typed(value)
        by_type.setdefault(kind, []).append(typed_value)
    some = tuple(Condition(key, "IN", kind, tuple(members)) for kind, members in by_type.items())
    return Either(some) if some else Not(Both(()))


def _check_scalar(value: Any, place: str) -> None:
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InvalidFilter(f"{place} must be a string, number, boolean or null, got {_kind(value)}")
    if isinstance(value, float) and value != value:
        raise InvalidFilter(f"{place} is NaN, which matches nothing")
    if isinstance(value, str) and not is_unicode(value):
        raise InvalidFilter(f"{place} is not valid Unicode")


def _count(node: Node) -> int:
    match node:
        case Condition():
            return 1
        case Not(part):
            return _count(part)
        case Both(parts) | Either(parts):
            return sum(map(_count, parts))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)

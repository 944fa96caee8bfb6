"""How metadata is taken apart for the inverted table `(key, type, value, row)`.

Nested objects give dotted keys, arrays one entry per element. A type mismatch never matches because the type
is part of the entry.
"""

import math
from collections.abc import Iterator
from typing import Any

Entry = tuple[str, str, str | int | float]  # key, type, value
INT64 = 1 << 63
MAX_DEPTH = 64  # well below what recursion in any thread can take


def typed(value: str | int | float | bool | None) -> tuple[str, str | int | float]:
    """(type, value) of a JSON scalar: `b`ool, `n`umber, `s`tring or `z` for null."""
    if value is None:
        return "z", ""
    if isinstance(value, bool):
        return "b", int(value)
    if isinstance(value, int):
        return "n", value if -INT64 <= value < INT64 else _nearest_float(value)
    if isinstance(value, float):
        return "n", value
    return "s", value


def _nearest_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def entries(metadata: dict[str, Any]) -> Iterator[Entry]:
    """Every (key, type, value) of a JSON object; raises ValueError when it is nested too deeply."""
    for key, value in metadata.items():
        yield from _entries(key, value, 1)


def _entries(key: str, value: Any, depth: int) -> Iterator[Entry]:
    if depth > MAX_DEPTH:
        raise ValueError(f"metadata is nested at most {MAX_DEPTH} deep")
    if isinstance(value, dict):
        yield key, "o", ""
        for inner, element in value.items():
            yield from _entries(f"{key}.{inner}", element, depth + 1)
    elif isinstance(value, list):
        if not value:
            yield key, "a", ""
        for element in value:
            yield from _entries(key, element, depth + 1)
    else:
        yield (key, *typed(value))

"""What the fuzzers of parsers feed them: JSON of any shape, bytes, and bytes that once were right."""

import json
import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5_000"))
MEMORY = 64 << 20  # bytes that Python may hold more than before, for inputs of at most a few kilobytes
NUMBERS = st.sampled_from([0, -1, 10**400, 2**63, 1e308, -0.0]) | st.integers() | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(["\0", "\ud800", "🦀", ""])


@dataclass(frozen=True)
class Parser:
    """A reader of outside bytes, what it is fed, and the errors that it is allowed to raise."""

    fed: st.SearchStrategy[Any]
    read: Callable[[Any], Any]
    errors: tuple[type[Exception], ...]


def fuzz(parser: Parser, examples: int, watched: bool = False) -> None:
    """Feed a parser; anything but its own errors is a failure, and so is, if watched, memory out of all proportion."""

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(parser.fed)
    def feed(fed: Any) -> None:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with suppress(*parser.errors):
            parser.read(fed)
        assert tracemalloc.get_traced_memory()[1] - before < MEMORY

    if watched:  # which takes several times as long
        tracemalloc.start()
    try:
        feed()
    finally:
        tracemalloc.stop()


def values(*names: str) -> st.SearchStrategy[Any]:
    """JSON values of any shape, in which these names are likely keys."""
    keys = st.text(max_size=3) | st.sampled_from(["", *names])
    return st.recursive(
        SCALARS | st.sampled_from(["", *names]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )


def mutated(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, or some of these with a few edits: bytes changed, cut out, put in, doubled, the end lost."""
    if not seeds:
        return st.binary(max_size=200)
    edits = st.lists(
        st.tuples(st.sampled_from(EDITS), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=4)), max_size=4
    )
    return st.binary(max_size=200) | st.tuples(st.sampled_from(seeds), edits).map(_edited)


def deep(depth: int = 20_000) -> bytes:
    """JSON that is nested deeper than any stack."""
    return b"[" * depth + b"]" * depth


def records(*seeds: dict[str, Any]) -> st.SearchStrategy[str]:
    """Texts of records as we write them, damaged: any bytes, other values for their members, members lost."""
    return st.one_of(*(_damaged(seed) for seed in seeds)) | mutated(*(json.dumps(s).encode() for s in seeds)).map(
        lambda data: data.decode("latin-1")
    )


def _damaged(seed: dict[str, Any]) -> st.SearchStrategy[str]:
    others = st.dictionaries(st.sampled_from(list(seed)), values(*seed), max_size=2)
    lost = st.sets(st.sampled_from(list(seed)), max_size=1)
    return st.tuples(others, lost).map(
        lambda made: json.dumps({name: v for name, v in {**seed, **made[0]}.items() if name not in made[1]})
    )


def _edited(made: tuple[bytes, list[tuple[Callable[..., bytes], float, float, bytes]]]) -> bytes:
    data, edits = made
    for edit, one, other, put in edits:
        start, stop = sorted((int(one * len(data)), int(other * len(data))))
        data = edit(data, start, stop, put)
    return data


EDITS: list[Callable[[bytes, int, int, bytes], bytes]] = [
    lambda data, start, stop, put: data[:start] + put + data[start + len(put) :],
    lambda data, start, stop, put: data[:start] + put + data[start:],
    lambda data, start, stop, put: data[:start] + data[stop:],
    lambda data, start, stop, put: data[:stop] + data[start:],
    lambda data, start, stop, put: data[:stop],
]

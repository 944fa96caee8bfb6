"""What the two ways of `funnel adapt` share: options, progress, and vectors of texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.adapting import Report
from app.cli_output import progress_bar
from app.client import Client
from index.matryoshka import normalise

Kind = Literal["query", "document"]
AT_ONCE = 64  # texts embedded between two looks at the progress


@dataclass(frozen=True)
class AdaptOptions:
    """What the command line says about learning and applying."""

    sample: int = 50_000
    queries: str | None = None
    pairs: str | None = None
    pca: bool = False
    steps: int | None = None
    dry_run: bool = False
    force: bool = False
    yes: bool = False
    as_json: bool = False
    seed: int = 0


def embedded(
    client: Client, texts: list[str], report: Report, kind: Literal["query", "document"] = "query"
) -> np.ndarray:
    """(n, dim) vectors of texts, with progress."""
    rows = []
    for start in range(0, len(texts), AT_ONCE):
        rows.append(client.embed(texts[start : start + AT_ONCE], kind))
        report(f"embedding ({kind})", min(start + AT_ONCE, len(texts)), len(texts))
    return np.concatenate(rows)


def mapped(client: Client, queries: np.ndarray) -> np.ndarray:
    """The (n, dim) queries under the query map in force, as searches take them."""
    query_map = client.query_map_matrix()
    return queries if query_map is None else normalise(queries @ query_map)


@contextmanager
def steps() -> Iterator[Report]:
    """Progress bars, one for each kind of work, as they come up."""
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report

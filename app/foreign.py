"""What an index of another system looks like to `funnel import`, and how its rows become record batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from app.client import Client
from app.client_arrow import record_batches
from index.errors import FunnelError

PAGE = 1_000  # rows asked for at a time


class ForeignError(FunnelError):
    """What is to be imported is not there, or is not what its name says."""


@dataclass(frozen=True)
class Rows:
    """Some documents: n ids, (n, dim) float32 vectors as they were stored, texts and metadata where there are such."""

    ids: list[str]
    vectors: np.ndarray
    texts: list[str | None]
    metadata: list[dict[str, Any] | None]
    titles: list[str | None] | None = None


class Foreign(Protocol):
    """An open index of another system."""

    name: str  # for people
    dim: int  # numbers a vector
    count: int  # rows, all together
    notice: str | None  # what a reader of the result has to know

    def rows(self) -> Iterator[Rows]:
        """All rows, always in the same order."""


def must_fit(foreign: Foreign, client: Client) -> None:
    """Raise ForeignError when the vectors are not as wide as those of the index they are to go to."""
    dim = client.info()["dim"]
    if dim != foreign.dim:
        raise ForeignError(
            f"{foreign.name} has vectors of {foreign.dim} numbers, the index takes {dim}: they go into an index of the "
            f"model that made them, or into one with FUNNEL_MODEL=none FUNNEL_DIM={foreign.dim}"
        )


def batches(foreign: Foreign) -> Iterator[Any]:
    """The rows as record batches of one schema. Raises ForeignError for a vector of another width."""
    for rows in foreign.rows():
        if rows.vectors.ndim != 2 or rows.vectors.shape[1] != foreign.dim:
            raise ForeignError(f"{foreign.name}: expected vectors of {foreign.dim} numbers, got {rows.vectors.shape}")
        titles = rows.titles or [None] * len(rows.ids)
        columns: dict[str, list[Any]] = {"id": rows.ids, "text": rows.texts, "title": titles, "metadata": rows.metadata}
        yield from record_batches(columns, rows.vectors)


def chosen(name: str | None, names: list[str], where: str) -> str:
    """The collection of that name, or the only one there is. Raises ForeignError with those there are."""
    if name is None and len(names) == 1:
        return names[0]
    there = ", ".join(sorted(names)) or "none at all"
    if name is None:
        raise ForeignError(f"{where} has {len(names)} collections, name one with --collection: {there}")
    if name not in names:
        raise ForeignError(f"{where} has no collection {name!r}; there are: {there}")
    return name


def must_hold(folder: Path, file: str, what: str) -> None:
    """Raise ForeignError unless the folder has the file, before a library makes an empty index there."""
    if not (folder / file).is_file():
        raise ForeignError(f"{folder} is no {what}: it has no {file}")


def texts_of(payloads: list[dict[str, Any]], field: str) -> list[str | None]:
    """The texts of payloads, which lose them; None where there is none."""
    return [payload.pop(field) if isinstance(payload.get(field), str) else None for payload in payloads]

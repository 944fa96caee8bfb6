"""Which document answers which query, for an index that is there: from a file, or the titles of its documents.

A record of a file (JSONL, CSV, Parquet, plain or gzipped) names the query in "query", "anchor", "question" or
"title", and its document in "positive", "text" or "answer", or by "id" if it is one that is stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.records import rows
from app.rows import RecordError

TITLES = "titles"  # instead of a file
QUERY_NAMES = ("query", "anchor", "question", "title")
TEXT_NAMES = ("positive", "text", "answer")
ID_NAMES = ("id", "_id")


@dataclass(frozen=True)
class Labelled:
    """A query and the document that answers it: the id of a stored one, or a text."""

    query: str
    id: str | None = None
    text: str | None = None


def read_labelled(source: str) -> list[Labelled]:
    """The pairs of a file. Raises RecordError where a record is none, naming what was found."""
    found = []
    for line, row, error in rows(source):
        if row is None:
            raise RecordError(f"{source} line {line}: {error}")
        found.append(_labelled(row, f"{source} line {line}"))
    return found


def titled(documents: Iterator[dict[str, Any]]) -> list[Labelled]:
    """Titles of stored documents as queries for them; a title that several documents have answers nothing."""
    seen: dict[str, str | None] = {}
    for document in documents:
        if title := (document.get("title") or "").strip():
            seen[title] = None if title in seen else document["id"]
    return [Labelled(title, id=name) for title, name in seen.items() if name is not None]


def drawn(pairs: list[Labelled], most: int, seed: int) -> list[Labelled]:
    """At most `most` of the pairs, at random."""
    return [pairs[row] for row in np.random.default_rng(seed).permutation(len(pairs))[:most]]


def _labelled(row: dict[str, Any], where: str) -> Labelled:
    query, text, name = (_first(row, names) for names in (QUERY_NAMES, TEXT_NAMES, ID_NAMES))
    if query is None or (text is None and name is None):
        sides = f"a query in {', '.join(QUERY_NAMES)} and a document in {', '.join(TEXT_NAMES + ID_NAMES[:1])}"
        raise RecordError(f"{where}: expected {sides}; found {', '.join(row) or 'nothing'}")
    return Labelled(query, text=text) if text is not None else Labelled(query, id=name)


def _first(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((row[name].strip() for name in names if isinstance(row.get(name), str) and row[name].strip()), None)

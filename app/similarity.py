"""Scored pairs of sentences: how well the cosine of two vectors follows what people said of the pair, by width.

A file has the columns sentence1, sentence2 and score (higher: more alike, on any scale), as STSb has: tab-separated
(.tsv, every line a pair, quotes are text), .csv, .jsonl or .parquet, plain or, Parquet aside, .gz.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.parquet import parquet_rows
from app.rows import RecordError, csv_rows, json_rows
from index.matryoshka import prefixes

COLUMNS = ("sentence1", "sentence2", "score")
SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class ScoredPairs:
    """Sentences in pairs and their scores, (n,) float64."""

    first: list[str]
    second: list[str]
    scores: np.ndarray
    name: str = ""

    def sampled(self, size: int | None, seed: int = 0) -> "ScoredPairs":
        """At most `size` of the pairs, drawn at random, in their order; None for all."""
        if size is None or size >= len(self.first):
            return self
        drawn = np.sort(np.random.default_rng(seed).permutation(len(self.first))[:size])
        first, second = ([texts[row] for row in drawn] for texts in (self.first, self.second))
        return replace(self, first=first, second=second, scores=self.scores[drawn])


def kind_of(path: Path) -> str:
    """The suffix of a file without .gz, such as ".tsv"."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def read_scored_pairs(path: Path) -> ScoredPairs:
    """The pairs of a file; RecordError says what is wrong, and where."""
    rows = [_pair(row, f"{path} line {line}") for line, row in _rows(path)]
    if len(rows) < 2 or len({score for *_, score in rows}) < 2:
        raise RecordError(f"{path}: a rank correlation needs 2 pairs with different scores, got {len(rows)} pairs")
    first, second, scores = zip(*rows, strict=True)
    folder = path.resolve().parent.name
    name = folder if path.name.split(".")[0] == "test" else f"{folder}-{path.name.split('.')[0]}"
    return ScoredPairs(list(first), list(second), np.array(scores), name)


def cosines(first: np.ndarray, second: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """(widths, n) float64 cosines of the prefixes of (n, dim) and (n, dim) unit rows."""
    rows = [np.einsum("ij,ij->i", prefixes(first, width), prefixes(second, width)) for width in widths]
    return np.stack(rows).astype(np.float64)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    readers = {".tsv": csv_rows, ".csv": csv_rows, ".jsonl": json_rows, ".parquet": parquet_rows}
    kind = kind_of(path)
    if kind not in readers:
        raise RecordError(f"{path}: unknown kind of file {kind!r}; known are {', '.join(SUFFIXES)} and .gz of them")
    for line, row, error in readers[kind](str(path)):
        if row is None:
            raise RecordError(f"{path} line {line}: {error}")
        yield line, row


def _pair(row: dict[str, Any], where: str) -> tuple[str, str, float]:
    missing = [name for name in COLUMNS if row.get(name) in (None, "")]
    if missing:
        raise RecordError(f"{where}: expected {', '.join(COLUMNS)}; there is no {' and no '.join(missing)}")
    try:
        return str(row["sentence1"]), str(row["sentence2"]), float(row["score"])
    except (TypeError, ValueError):
        raise RecordError(f"{where}: a score is a number, got {row['score']!r}") from None

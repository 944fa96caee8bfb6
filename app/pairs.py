"""Reading what a head is trained on: files of pairs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.rows import RecordError, json_rows

PAIR_FILES = ("pairs.jsonl.gz", "pairs.jsonl")


@dataclass(frozen=True)
class Pair:
    """A query-like text and a document-like text that answers it; `negative` looks alike and does not."""

    anchor: str
    positive: str
    negative: str | None = None


def pair_files(data: Path) -> dict[str, Path]:
    """Set name -> file, sorted by name: every folder under `data` that holds pairs."""
    found = {file.parent.name: file for name in PAIR_FILES for file in data.glob(f"*/{name}")}
    return dict(sorted(found.items()))


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file; lines with an empty side are left out. Raises RecordError at a line that is no object."""
    pairs = []
    for number, line, error in json_rows(str(path)):
        if line is None:
            raise RecordError(f"{path} line {number}: {error}")
        anchor, positive = line["anchor"].strip(), line["positive"].strip()
        if anchor and positive:
            pairs.append(Pair(anchor, positive, (line.get("negative") or "").strip() or None))
    return pairs


def sample(pairs: list[Pair], size: int, rng: np.random.Generator) -> list[Pair]:
    """At most `size` of the pairs, at random and without repetition."""
    return [pairs[index] for index in rng.permutation(len(pairs))[:size]]

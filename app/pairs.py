"""Reading what a head is trained on: files of pairs."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PAIR_FILES = ("pairs.jsonl.gz", "pairs.jsonl")


@dataclass(frozen=True)
class Pair:
    """A query-like text and a document-like text that answers it; `negative` looks alike and does not."""

    anchor: str
    positive: str
    negative: str | None = None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, plain or gzipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def pair_files(data: Path) -> dict[str, Path]:
    """Set name -> file, sorted by name: every folder under `data` that holds pairs."""
    found = {file.parent.name: file for name in PAIR_FILES for file in data.glob(f"*/{name}")}
    return dict(sorted(found.items()))


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file; lines with an empty side are left out."""
    pairs = []
    for line in read_lines(path):
        anchor, positive = line["anchor"].strip(), line["positive"].strip()
        if anchor and positive:
            pairs.append(Pair(anchor, positive, (line.get("negative") or "").strip() or None))
    return pairs


def sample(pairs: list[Pair], size: int, rng: np.random.Generator) -> list[Pair]:
    """At most `size` of the pairs, at random and without repetition."""
    return [pairs[index] for index in rng.permutation(len(pairs))[:size]]

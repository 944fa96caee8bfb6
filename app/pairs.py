"""Reading what a head is trained on and measured with: files of pairs, and collections in BEIR's layout."""

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


@dataclass(frozen=True)
class Collection:
    """Documents, queries and judgements: `relevant[i]` maps positions in `documents` to grades for `queries[i]`."""

    documents: list[str]
    queries: list[str]
    relevant: list[dict[int, float]]


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


def read_collection(folder: Path) -> Collection:
    """A collection in BEIR's layout; a document's text is title + newline + text, as the service embeds it."""
    documents = {line["_id"]: embedded_text(line) for line in read_lines(_find(folder, "corpus"))}
    documents = {key: text for key, text in documents.items() if text}
    queries = {line["_id"]: line["text"].strip() for line in read_lines(_find(folder, "queries"))}
    rows = {key: row for row, key in enumerate(documents)}
    grades = read_judgements(folder / "qrels.tsv")
    judged = {key: {rows[doc]: grade for doc, grade in found.items() if doc in rows} for key, found in grades.items()}
    kept = [key for key in queries if judged.get(key)]
    return Collection(list(documents.values()), [queries[key] for key in kept], [judged[key] for key in kept])


def known_items(folder: Path, queries: int = 2000) -> Collection:
    """A corpus without judgements as a known-item test: titles drawn at random are the queries for all texts."""
    lines = [line for line in read_lines(_find(folder, "corpus")) if line["text"].strip() and line["title"].strip()]
    drawn = sorted(np.random.default_rng(0).permutation(len(lines))[:queries].tolist())
    titles = [lines[row]["title"].strip() for row in drawn]
    return Collection([line["text"].strip() for line in lines], titles, [{row: 1.0} for row in drawn])


def read_judgements(path: Path) -> dict[str, dict[str, float]]:
    """query id -> document id -> grade, positive grades only, of a qrels.tsv with a header."""
    grades: dict[str, dict[str, float]] = {}
    for line in path.read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")[:3]
        if float(grade) > 0:
            grades.setdefault(query, {})[document] = float(grade)
    return grades


def embedded_text(line: dict[str, Any]) -> str:
    """Title + newline + text of a corpus line."""
    return "\n".join(part for part in ((line.get("title") or "").strip(), line["text"].strip()) if part)


def _find(folder: Path, name: str) -> Path:
    """`name`.jsonl.gz or `name`.jsonl in the folder."""
    zipped = folder / f"{name}.jsonl.gz"
    return zipped if zipped.is_file() else folder / f"{name}.jsonl"

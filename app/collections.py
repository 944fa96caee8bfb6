"""Retrieval collections in BEIR's layout: a corpus, queries, and judgements of which document answers which query.

corpus.jsonl[.gz]    {"_id", "title"?, "text"}
queries.jsonl[.gz]   {"_id", "text"}
qrels.tsv            query-id, corpus-id, score, with a header; also as qrels/test.tsv

A corpus alone is a known-item test: every title searches the texts, and its own text is the one to find.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.rows import RecordError, binary, json_rows
from index.document import joined

QRELS = ("qrels.tsv", "qrels/test.tsv")
COLUMNS = ("query-id", "corpus-id", "score")
JUDGED, KNOWN_ITEM = "judged", "known item: title -> text"


@dataclass(frozen=True)
class Collection:
    """Documents, queries and judgements: `relevant[i]` maps positions in `documents` to grades for `queries[i]`.

    `ids` are those of the documents; `left_out` says what of the files was not used, and how much of it.
    """

    documents: list[str]
    queries: list[str]
    relevant: list[dict[int, float]]
    ids: tuple[str, ...] = ()
    name: str = ""
    task: str = JUDGED
    left_out: tuple[str, ...] = ()

    def sampled(self, size: int | None, seed: int = 0) -> "Collection":
        """At most `size` of the queries, drawn at random, in their order; None for all."""
        if size is None or size >= len(self.queries):
            return self
        drawn = sorted(np.random.default_rng(seed).permutation(len(self.queries))[:size].tolist())
        chosen = [self.queries[row] for row in drawn], [self.relevant[row] for row in drawn]
        return replace(self, queries=chosen[0], relevant=chosen[1])


def is_collection(folder: Path) -> bool:
    """Whether a folder holds a corpus."""
    return any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def judgements_file(folder: Path) -> Path | None:
    """The folder's judgements; None for a corpus alone."""
    return next((folder / name for name in QRELS if (folder / name).is_file()), None)


def read_collection(folder: Path) -> Collection:
    """The collection in a folder; without judgements a known-item test. RecordError says what is wrong, and where."""
    corpus = {_text(line, "_id", where): (line, where) for line, where in _lines(folder, "corpus")}
    judgements = judgements_file(folder)
    made = known_items_of(corpus) if judgements is None else _judged(folder, corpus, judgements)
    if not made.queries:
        wanted = "a relevant document that is in the corpus" if judgements else f"a title, and there is no {QRELS[0]}"
        raise RecordError(f"{folder}: none of its {'queries' if judgements else 'documents'} has {wanted}")
    return replace(made, name=folder.resolve().name)


def known_items(folder: Path, queries: int = 2000) -> Collection:
    """A corpus as a known-item test, whether it has judgements or not: titles drawn at random search the texts."""
    corpus = {_text(line, "_id", where): (line, where) for line, where in _lines(folder, "corpus")}
    return replace(known_items_of(corpus).sampled(queries), name=folder.resolve().name)


def known_items_of(corpus: dict[str, tuple[dict[str, Any], str]]) -> Collection:
    """The texts of a corpus, and their titles as queries."""
    texts = {key: _text(line, "text", where) for key, (line, where) in corpus.items()}
    texts = {key: text for key, text in texts.items() if text.strip()}
    titles = [((corpus[key][0].get("title") or "").strip(), row) for row, key in enumerate(texts)]
    asked = [(title, row) for title, row in titles if title]
    left = _counted({"documents without text": len(corpus) - len(texts), "untitled": len(texts) - len(asked)})
    relevant = [{row: 1.0} for _, row in asked]
    return Collection(
        list(texts.values()), [title for title, _ in asked], relevant, tuple(texts), task=KNOWN_ITEM, left_out=left
    )


def read_judgements(path: Path) -> dict[str, dict[str, float]]:
    """query id -> document id -> grade, positive grades only, of a tab-separated file with a header."""
    grades: dict[str, dict[str, float]] = {}
    with binary(str(path)) as stream:
        rows = csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), delimiter="\t")
        found = rows.fieldnames or ()
        if not set(COLUMNS) <= set(found):
            raise RecordError(f"{path}: expected the columns {', '.join(COLUMNS)}, got {', '.join(found) or 'nothing'}")
        for row in rows:
            if (grade := _grade(row["score"], f"{path} line {rows.line_num}")) > 0:
                grades.setdefault(row["query-id"], {})[row["corpus-id"]] = grade
    return grades


def _judged(folder: Path, corpus: dict[str, tuple[dict[str, Any], str]], judgements: Path) -> Collection:
    """A corpus, its queries and their judgements; what does not fit together is left out and counted."""
    texts = {key: embedded_text(line, where) for key, (line, where) in corpus.items()}
    texts = {key: text for key, text in texts.items() if text}
    rows = {key: row for row, key in enumerate(texts)}
    queries = {
        _text(line, "_id", where): _text(line, "text", where).strip() for line, where in _lines(folder, "queries")
    }
    grades = read_judgements(judgements)
    judged = {key: {rows[doc]: grade for doc, grade in grades.get(key, {}).items() if doc in rows} for key in queries}
    kept = [key for key in queries if judged[key] and queries[key]]
    strange = Counter(doc in corpus for found in grades.values() for doc in found if doc not in rows)
    left = {
        "documents without text": len(corpus) - len(texts),
        "judgements of documents that are not in the corpus": strange[False],
        "judgements of documents without text": strange[True],
        "judged queries that are not in the queries file": len(grades.keys() - queries.keys()),
        "queries without a relevant document": len(queries) - len(kept),
    }
    relevant = [judged[key] for key in kept]
    return Collection(
        list(texts.values()), [queries[key] for key in kept], relevant, tuple(texts), left_out=_counted(left)
    )


def embedded_text(line: dict[str, Any], where: str = "corpus") -> str:
    """Title, newline, text of a corpus line, as the service embeds a document."""
    return joined((line.get("title") or "").strip() or None, _text(line, "text", where).strip()).strip()


def _lines(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of `name`.jsonl.gz or `name`.jsonl, each with its place."""
    zipped = folder / f"{name}.jsonl.gz"
    path = zipped if zipped.is_file() else folder / f"{name}.jsonl"
    for number, line, error in json_rows(str(path)):
        if line is None:
            raise RecordError(f"{path} line {number}: {error}")
        yield line, f"{path} line {number}"


def _text(line: dict[str, Any], name: str, where: str) -> str:
    value = line.get(name)
    if isinstance(value, str):
        return value
    raise RecordError(f"{where}: field {name!r} must be a text, got {'nothing' if value is None else repr(value)}")


def _grade(cell: str | None, where: str) -> float:
    """trec_eval's grades are whole numbers."""
    try:
        grade = float(cell or "")
    except ValueError:
        raise RecordError(f"{where}: a score is a number, got {cell!r}") from None
    if not grade.is_integer():
        raise RecordError(f"{where}: a score is a whole number, got {cell}")
    return grade


def _counted(numbers: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"{number:,} {what}" for what, number in numbers.items() if number)

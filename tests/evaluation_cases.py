"""Collections whose answers are known, and models that embed them by a table."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.collections import Collection
from app.subject import Embed, Subject
from index.matryoshka import normalise
from index.space import Space

TOPICS = 60


def by_table(texts: Sequence[str], vectors: np.ndarray) -> Embed:
    """Embeds the texts that it knows."""
    rows = dict(zip(texts, normalise(vectors), strict=True))
    return lambda asked: np.stack([rows[text] for text in asked])


def planted(carrying: int = 8, dim: int = 32, prefix: int = 8, name: str = "planted") -> tuple[Collection, Subject]:
    """60 topics with a document and a query each, told apart by the first `carrying` of `dim` numbers alone."""
    rng = np.random.default_rng(5)
    documents, queries = ([f"{kind} topic{topic}" for topic in range(TOPICS)] for kind in ("document", "query"))
    topics = rng.standard_normal((TOPICS, carrying))
    vectors = 1e-3 * rng.standard_normal((2, TOPICS, dim))
    vectors[:, :, :carrying] = topics + 0.5 * rng.standard_normal((2, TOPICS, carrying))
    ids = tuple(f"d{topic}" for topic in range(TOPICS))
    collection = Collection(documents, queries, [{topic: 1.0} for topic in range(TOPICS)], ids, "topics")
    embed = by_table(documents, vectors[0]), by_table(queries, vectors[1])
    return collection, Subject(name, name, Space(dim, prefix, {"model": name}), (dim, 16, prefix), *embed)


def at_once(key: str, role: str, texts: Sequence[str], embed: Embed) -> np.ndarray:
    """Embeds without remembering."""
    return embed(texts)


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    """A JSONL file, gzipped if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return path


def write_collection(folder: Path, judged: str | None = "qrels.tsv") -> Path:
    """Three documents of the tiny models' words, two queries; without judgements when `judged` is None."""
    texts = {"d1": "parse a date from text", "d2": "sort a list", "d3": "open a file path"}
    write_lines(folder / "corpus.jsonl", [{"_id": key, "title": text[:9], "text": text} for key, text in texts.items()])
    if judged is not None:
        asked = {"q1": "date text", "q2": "sort list", "q3": "tree"}
        write_lines(folder / "queries.jsonl.gz", [{"_id": key, "text": text} for key, text in asked.items()])
        (folder / judged).parent.mkdir(exist_ok=True)
        (folder / judged).write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t0\nq2\td2\t1\n")
    return folder

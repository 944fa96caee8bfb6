"""The collections that recall is measured on: documents with vectors in a real store, and queries with vectors."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmark_funnel import settle
from benchmark_latency import read_texts, shortest
from harness import cached, lines

from app.collections import known_items, read_collection
from app.subject import Subject, load_minilm, load_subject
from index.document import Document
from index.options import StoreOptions
from index.space import Space
from index.store import Store

PREFIX = 64
LOAD = 4_096  # documents written at a time
ALL_TEXTS, ALL_QUERIES = 370_000, 12_000
KNOWN_ITEMS = 8_000
MODELS = {"bundled": lambda: load_subject("bundled"), "minilm": load_minilm}


@dataclass(frozen=True)
class Case:
    """(n, dim) and (q, dim) float32 unit vectors of a collection; queries are in random order."""

    name: str
    model: str
    space: Space
    texts: Sequence[str]
    documents: np.ndarray
    queries: np.ndarray


def load_case(data: Path, collection: str, model: str, documents: int | None, queries: int | None) -> Case:
    """A collection below `data`, or `all` of them together, embedded now or before."""
    subject: Subject = MODELS[model]()
    texts, asked = texts_of(data, collection)
    role = f"{collection}-documents" if documents is None else f"{collection}-documents-smoke"
    texts, asked = texts[:documents], asked[:queries]
    rows = cached(subject.key, role, texts, subject.documents)
    vectors = cached(subject.key, f"{collection}-queries", asked, subject.queries)
    space = Space(subject.space.dim, PREFIX, subject.space.fingerprint)
    order = np.random.default_rng(0).permutation(len(asked))
    return Case(collection, model, space, texts, rows, np.asarray(vectors)[order])


def texts_of(data: Path, collection: str) -> tuple[list[str], list[str]]:
    """Documents and queries of a collection, or of `all` of them together."""
    if collection == "all":
        documents, queries = read_texts(data)
        return shortest(documents, ALL_TEXTS), queries[:ALL_QUERIES]
    folder = data / collection
    found = read_collection(folder) if (folder / "qrels.tsv").exists() else known_items(folder, KNOWN_ITEMS)
    return found.documents, found.queries


def metadata_of(data: Path, collection: str) -> dict[str, dict[str, object]]:
    """Text of a document -> its metadata."""
    path = data / collection / "corpus.jsonl.gz"
    return {row["text"].strip(): row.get("metadata") or {} for row in lines(path)}


@contextmanager
def stored(
    space: Space,
    documents: np.ndarray,
    options: StoreOptions | None = None,
    metadata: Sequence[dict[str, object]] | None = None,
) -> Iterator[Store]:
    """A store in a temporary folder with these documents, named by their row."""
    with (
        tempfile.TemporaryDirectory(prefix="funnel-recall-") as folder,
        closing(Store.open(Path(folder) / "data", space, options or StoreOptions())) as store,
    ):
        add(store, documents, 0, metadata)
        yield store


def add(store: Store, vectors: np.ndarray, first: int, metadata: Sequence[dict[str, object]] | None = None) -> None:
    """Write (n, dim) vectors as documents first, first + 1, ...; returns when they are merged."""
    for start in range(0, len(vectors), LOAD):
        part = np.asarray(vectors[start : start + LOAD])
        told = metadata[start : start + LOAD] if metadata else [{}] * len(part)
        documents = [Document(str(first + start + n), "-", metadata=dict(one)) for n, one in enumerate(told)]
        store.write(documents, dict(enumerate(part)))
    settle(store)

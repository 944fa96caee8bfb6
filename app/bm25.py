"""BM25, the baseline that knows words only: bm25s with its own defaults and English stop words."""

from collections.abc import Sequence
from typing import Any

from app.extras import extra_module


def bm25(documents: Sequence[str], queries: Sequence[str], keep: int) -> list[list[int]]:
    """Positions of the best documents for each query, best first: at most `keep`, and only those that share a word.

    Raises ExtraMissing without bm25s.
    """
    library = extra_module("bm25s", "evaluate")
    indexed = _words(library, documents)
    if not any(indexed.ids):
        return [[] for _ in queries]
    retriever = library.BM25()
    retriever.index(indexed, show_progress=False)
    asked = _words(library, queries)
    found, scores = retriever.retrieve(asked, k=min(keep, len(documents)), show_progress=False)
    return [row[value > 0].tolist() for row, value in zip(found, scores, strict=True)]


def _words(library: Any, texts: Sequence[str]) -> Any:
    return library.tokenize(list(texts), stopwords="en", show_progress=False)

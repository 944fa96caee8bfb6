"""BM25, the baseline that knows words only: bm25s with its own defaults and English stop words."""

from collections.abc import Sequence

from app.extras import extra_module


def bm25(documents: Sequence[str], queries: Sequence[str], keep: int) -> list[list[int]]:
    """Positions of the best `keep` documents for each query, best first; raises ExtraMissing without bm25s."""
    library = extra_module("bm25s", "evaluate")
    retriever = library.BM25()
    retriever.index(_words(library, documents), show_progress=False)
    found, _ = retriever.retrieve(_words(library, queries), k=min(keep, len(documents)), show_progress=False)
    positions: list[list[int]] = found.tolist()
    return positions


def _words(library: object, texts: Sequence[str]) -> object:
    return library.tokenize(list(texts), stopwords="en", show_progress=False)  # type: ignore[attr-defined]

"""BM25 finds documents by their words."""

from app.bm25 import bm25

TEXTS = ["hash lists", "trees are sorted", "a hash of a tree, and of trees", "vectors"]


def test_documents_that_share_words_come_first() -> None:
    """The rarer the word and the shorter the document, the higher."""
    assert bm25(TEXTS, ["hash lists", "sorted trees"], 10) == [[0, 2], [1, 2]]
    assert bm25(TEXTS, ["hash lists"], 1) == [[0]]


def test_without_a_common_word_nothing_is_found() -> None:
    """Stop words and unknown words are none; nor does a corpus of stop words hold any."""
    assert bm25(TEXTS, ["the", "zebra"], 10) == [[], []]
    assert bm25(["the", "a"], ["hash", "the"], 10) == [[], []]

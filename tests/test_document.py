"""Documents as they come in."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.document import NO_VECTOR, Document, StoredDocument, metadata_hash, text_hash
from index.errors import InvalidDocument, InvalidVector


@pytest.mark.parametrize("doc_id", ["a", " ", "é" * 256, "x" * 512, "a/b?c#d%00", "🦀", "\n"])
def test_ids_are_1_to_512_bytes(doc_id: str) -> None:
    """Any Unicode text of that size."""
    assert Document(doc_id, "text").doc_id == doc_id


@pytest.mark.parametrize("doc_id", ["", "x" * 513, "é" * 257, "\ud800", "a\0b", 3, None, b"a"], ids=repr)
def test_other_ids_are_refused(doc_id: Any) -> None:
    """Too short, too long, not Unicode, with NUL, or no string."""
    with pytest.raises(InvalidDocument):
        Document(doc_id, "text")


@pytest.mark.parametrize(
    ("title", "text", "embedded"), [(None, "t", "t"), ("", "t", "t"), ("h", "t", "h\nt"), ("h", "", "h\n")]
)
def test_the_embedded_text_is_title_newline_text(title: str | None, text: str, embedded: str) -> None:
    """Going in and coming out; an empty title is no title."""
    assert Document("a", text, title).embedded_text == embedded
    assert StoredDocument("a", text, title, {}, 0).embedded_text == embedded


def test_a_document_needs_something_to_embed() -> None:
    """A text, a title, or a vector of its own."""
    for empty in ("", " \n"):
        with pytest.raises(InvalidDocument, match="needs a text"):
            Document("a", empty)
    assert Document("a", "", vector=np.ones(3)).vector is not None


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        "x",
        {"a": {1, 2}},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\ud800"},
        {"\ud800": 1},
        {1: 1, "1": 2},
        {"a": b"x"},
        {"n": 10**5000},
    ],
)
def test_metadata_that_is_no_json_object_is_refused(metadata: Any) -> None:
    """Also NaN, Inf and lone surrogates, which JSON cannot carry."""
    with pytest.raises(InvalidDocument):
        Document("a", "t", metadata=metadata)


@pytest.mark.parametrize("depth", [65, 500, 100_000])
@pytest.mark.parametrize("kind", [dict, list])
def test_metadata_nested_too_deeply_is_refused(depth: int, kind: type) -> None:
    """At construction, so that the writer's thread never meets it."""
    nested: Any = 1
    for _ in range(depth):
        nested = {"k": nested} if kind is dict else [nested]
    with pytest.raises(InvalidDocument):
        Document("a", "t", metadata={"k": nested})


@pytest.mark.parametrize("field", ["title", "text"])
def test_texts_must_be_unicode(field: str) -> None:
    """A lone surrogate is refused, NUL is not."""
    with pytest.raises(InvalidDocument, match="surrogate"):
        Document(**{"doc_id": "a", "text": "t", field: "x\udfff"})
    assert Document(**{"doc_id": "a", "text": "t", field: "x\0y"})


@pytest.mark.parametrize("vector", [[0.0, 0.0], [np.nan, 1], [np.inf, 1], [[1.0]]], ids=str)
def test_a_bad_vector_of_its_own_is_refused(vector: Any) -> None:
    """Law 8 begins at the document."""
    with pytest.raises(InvalidVector):
        Document("a", "t", vector=np.array(vector))


def test_the_content_hash_tells_what_decides_the_vector() -> None:
    """Title, text and own vector change it; metadata and id do not; a title is not a text."""
    base = Document("a", "text", "title")
    assert Document("b", "text", "title", {"k": 1}).content_hash == base.content_hash
    others = [
        Document("a", "text"),
        Document("a", "title\ntext"),
        Document("a", "texts", "title"),
        Document("a", "text", ""),
        Document("a", "text", "title", vector=np.ones(3)),
        Document("a", "text", "title", vector=np.arange(3)),
    ]
    assert len({d.content_hash for d in [base, *others]}) == 7
    assert base.content_hash == text_hash("title", "text") + NO_VECTOR


def test_the_document_hash_tells_everything() -> None:
    """Metadata and content change it, the order of keys does not."""
    one, other = Document("a", "t", metadata={"x": 1, "y": 2}), Document("a", "t", metadata={"y": 2, "x": 1})
    assert one.document_hash == other.document_hash == metadata_hash('{"x":1,"y":2}', one.content_hash)
    assert one.document_hash != Document("a", "t", metadata={"x": 1}).document_hash
    assert one.document_hash != Document("a", "u", metadata={"x": 1, "y": 2}).document_hash


@settings(max_examples=50)
@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_no_two_texts_share_a_hash_by_their_border(a: str, b: str, c: str, d: str) -> None:
    """(title, text) pairs hash apart, however the characters are divided."""
    assert (text_hash(a, b) == text_hash(c, d)) == ((a, b) == (c, d))

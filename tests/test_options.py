"""Choices of a store."""

from typing import Any

import pytest

from index.codec import CODECS
from index.graph import CODES
from index.options import ALLOWED, StoreOptions


@pytest.mark.parametrize("name", ALLOWED)
def test_an_unknown_word_is_refused_and_the_known_ones_named(name: str) -> None:
    """Rather than taken for one of them."""
    for word in ALLOWED[name]:
        known: dict[str, Any] = {name: word}
        assert getattr(StoreOptions(**known), name) == word
    unknown: dict[str, Any] = {name: "flot32"}
    with pytest.raises(ValueError, match=f"{name} must be one of {', '.join(ALLOWED[name])}, got 'flot32'"):
        StoreOptions(**unknown)


def test_the_words_are_those_of_codecs_and_graphs() -> None:
    """What can be chosen is what there is."""
    assert set(ALLOWED["storage"]) == set(CODECS)
    assert set(ALLOWED["shortlist_codes"]) == {"auto", *CODES}

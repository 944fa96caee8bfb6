"""The lexical half: weights, special tokens, shares, saving."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch.nn.functional import normalize

from app.lexical import LexicalConcat
from app.words import join, signs
from tests.tiny_models import MAX_TOKENS, WORDS, save_body, tokenizer

WIDTH = 16
KINDS = 6


@pytest.fixture
def model(tmp_path: Path) -> SentenceTransformer:
    """A tiny body with the lexical half behind it; the word of index i weighs i + 1."""
    body = Transformer(str(save_body(tmp_path / "body", WIDTH)))
    words = tokenizer()
    lexical = LexicalConcat(WIDTH, len(words), KINDS, power=1.0, saturation=1.0, kinship=0.7, share=0.2)
    for weight, word in enumerate(WORDS, start=1):
        lexical.idf[words.convert_tokens_to_ids(word)] = weight
    return SentenceTransformer(modules=[body, Pooling(WIDTH), lexical], device="cpu")


def by_hand(model: SentenceTransformer, *words: str) -> torch.Tensor:
    """Each word's vector times idf times 2 tf / (tf + 1), normalised."""
    embeddings, own = model[0].auto_model.get_input_embeddings().weight, signs(len(tokenizer()), WIDTH - KINDS)
    total = torch.zeros(WIDTH)
    for word in set(words):
        often, idf, row = words.count(word), WORDS.index(word) + 1, tokenizer().convert_tokens_to_ids(word)
        alike = 0.7 * normalize(embeddings[row], dim=0)[:KINDS]  # the projection is the identity
        alone = torch.from_numpy(own[row]) / (WIDTH - KINDS) ** 0.5
        total += idf * 2 * often / (often + 1) * torch.cat([alike, alone])
    return normalize(total, dim=0)


def test_the_lexical_half_is_a_sum_of_the_weighted_words(model: SentenceTransformer) -> None:
    """It equals the sum computed by hand: repeated words add less, and their places do not matter."""
    vector = model.encode("parse date parse", convert_to_tensor=True)
    torch.testing.assert_close(vector[WIDTH:], by_hand(model, "parse", "date", "parse") * 0.2**0.5)
    again = model.encode("date parse parse", convert_to_tensor=True)
    torch.testing.assert_close(vector[WIDTH:], again[WIDTH:])


def test_signs_tell_tokens_apart() -> None:
    """Signs of different tokens are nearly orthogonal: off by about 1 / sqrt(dim) and not systematically."""
    unit = signs(2_000, 384) / 384**0.5
    others = (unit @ unit.T)[~np.eye(2_000, dtype=bool)]
    assert others.std() == pytest.approx(384**-0.5, rel=0.02)
    assert abs(others.mean()) < 1e-3


def test_the_signs_never_change() -> None:
    """They belong to the fingerprint of every index: another bit would be another model."""
    digest = hashlib.sha256(signs(30_522, 384).astype(np.int8).tobytes()).hexdigest()
    assert digest[:16] == "60ffe8f3a3b32461"


def test_special_tokens_carry_no_weight(model: SentenceTransformer) -> None:
    """Padding beside a long text and the ends of the text leave the lexical half alone."""
    alone = model.encode(["date"])[0, WIDTH:]
    padded = model.encode(["date", "parse " * MAX_TOKENS])[0, WIDTH:]
    assert alone == pytest.approx(padded, abs=1e-6)


def test_a_text_without_known_words_has_no_lexical_half(model: SentenceTransformer) -> None:
    """Unknown words name nothing: that half is zero, and no number is NaN."""
    vector = model.encode("qqq zzz", convert_to_tensor=True)
    assert torch.isfinite(vector).all()
    assert not vector[WIDTH:].any()
    assert vector[:WIDTH].any()


def test_shares_are_shares_of_the_cosine() -> None:
    """The inner product of two joined vectors is the weighted mean of the cosines of the halves."""
    meaning, words = normalize(torch.randn(2, 8)), normalize(torch.randn(2, 8))
    joined = join(meaning * 5.0, words * 0.01, share=0.2)
    expected = 0.8 * meaning[0] @ meaning[1] + 0.2 * words[0] @ words[1]
    torch.testing.assert_close(joined[0] @ joined[1], expected)


def test_a_saved_model_gives_the_same_vectors(model: SentenceTransformer, tmp_path: Path) -> None:
    """Table, projection and settings come back from the folder; the tokens' vectors are made again, not stored."""
    model.save(str(tmp_path / "saved"), create_model_card=False)
    assert (tmp_path / "saved" / "2_LexicalConcat" / "model.safetensors").stat().st_size < 4_000
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu", trust_remote_code=True)
    assert loaded.encode(["parse a date"]) == pytest.approx(model.encode(["parse a date"]), abs=1e-6)


def test_another_body_is_refused(tmp_path: Path) -> None:
    """A table made for another vocabulary cannot weigh this body's tokens."""
    body = Transformer(str(save_body(tmp_path / "body", WIDTH)))
    with pytest.raises(ValueError, match="expects word embeddings"):
        SentenceTransformer(modules=[body, Pooling(WIDTH), LexicalConcat(WIDTH, 99, KINDS)], device="cpu")

"""The lexical half: weights, special tokens, shares, saving."""

from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch.nn.functional import normalize

from app.lexical import LexicalConcat, join
from tests.tiny_models import MAX_TOKENS, WORDS, save_body, tokenizer

WIDTH = 16


@pytest.fixture
def model(tmp_path: Path) -> SentenceTransformer:
    """A tiny body with the lexical half behind it; the word of index i weighs i + 1."""
    body = Transformer(str(save_body(tmp_path / "body", WIDTH)))
    words = tokenizer()
    lexical = LexicalConcat(WIDTH, len(words), power=1.5, share=0.2)
    for weight, word in enumerate(WORDS, start=1):
        lexical.idf[words.convert_tokens_to_ids(word)] = weight
    return SentenceTransformer(modules=[body, Pooling(WIDTH), lexical], device="cpu")


def test_the_lexical_half_is_the_weighted_mean_of_word_embeddings(model: SentenceTransformer) -> None:
    """It equals the sum computed by hand: idf to the power of 1.5 times each word's embedding, normalised."""
    table = model[0].auto_model.get_input_embeddings().weight
    by_hand = torch.zeros(WIDTH)
    for word in ("parse", "date", "parse"):
        index = tokenizer().convert_tokens_to_ids(word)
        by_hand += (WORDS.index(word) + 1) ** 1.5 * table[index]
    vector = model.encode("parse date parse", convert_to_tensor=True)
    torch.testing.assert_close(vector[WIDTH:], normalize(by_hand, dim=0) * 0.2**0.5)


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
    """Table, power and share come back from the folder; the body's words are found again, not stored twice."""
    model.save(str(tmp_path / "saved"), create_model_card=False)
    assert (tmp_path / "saved" / "2_LexicalConcat" / "model.safetensors").stat().st_size < 4_000
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu", trust_remote_code=True)
    assert loaded.encode(["parse a date"]) == pytest.approx(model.encode(["parse a date"]), abs=1e-6)


def test_another_body_is_refused(tmp_path: Path) -> None:
    """A table made for another vocabulary cannot weigh this body's words."""
    body = Transformer(str(save_body(tmp_path / "body", WIDTH)))
    with pytest.raises(ValueError, match="expects word embeddings"):
        SentenceTransformer(modules=[body, Pooling(WIDTH), LexicalConcat(WIDTH, 99)], device="cpu")

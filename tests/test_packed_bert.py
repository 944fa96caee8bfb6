"""The packed BERT: the vectors of transformers without padding, and only where they are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from app.compose import load_composed
from app.embedder import Embedder, load_embedder
from app.packed_bert import TOKENS, parts
from app.packed_body import packed_body
from app.settings import Settings
from tests.tiny_models import save_model, save_static

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["sort a list", "", "date", "parse a date from text " * 80, "open file", "the wing of an aeroplane", "date"]


def served(folder: Path | str) -> Embedder:
    """The embedder of a folder, on the CPU."""
    embedder = load_embedder(Settings(model=str(folder), device="cpu"))
    assert embedder is not None
    return embedder


def plainly(folder: Path, texts: list[str]) -> np.ndarray:
    """What sentence-transformers makes of the texts."""
    return SentenceTransformer(str(folder), device="cpu").encode(texts)


def test_vectors_are_those_of_transformers() -> None:
    """The bundled model, alone and in batches with texts of other lengths, some of them more than fit in a part."""
    embedder, model = served("bundled"), load_composed(device="cpu")
    texts = TEXTS * 8
    expected = model.encode(texts, show_progress_bar=False)
    assert sum(len(ids) for ids in model.tokenizer(texts, max_length=256, truncation=True)["input_ids"]) > TOKENS
    assert np.abs(embedder.embed_documents(texts).vectors - expected).max() < 1e-6
    alone = np.concatenate([embedder.embed_queries([text]) for text in TEXTS])
    assert np.abs(alone - expected[: len(TEXTS)]).max() < 1e-6


def test_a_body_of_several_layers_and_other_widths(tmp_path: Path) -> None:
    """Nothing is taken for granted about the number of layers, heads or the width."""
    folder = save_model(tmp_path / "model", width=96, num_hidden_layers=3, num_attention_heads=4)
    assert packed_body(SentenceTransformer(str(folder), device="cpu")) is not None
    assert served(folder).embed_queries(TEXTS) == pytest.approx(plainly(folder, TEXTS), abs=1e-6)


def test_parts_keep_the_order_and_the_bound() -> None:
    """A text longer than the bound is a part of its own; every text is in one."""
    lengths = [TOKENS, 1, TOKENS - 1, 2, 2 * TOKENS, 3]
    assert list(parts(lengths)) == [[TOKENS], [1, TOKENS - 1], [2], [2 * TOKENS], [3]]


@pytest.mark.parametrize("other", [{"hidden_act": "gelu_new"}, {"is_decoder": True}, {"output_hidden_states": True}])
def test_another_kind_of_bert_keeps_its_own_code(tmp_path: Path, other: dict[str, object]) -> None:
    """Whatever the packed one does not know is left to transformers, with the same vectors as ever."""
    folder = save_model(tmp_path / "model", **other)
    assert packed_body(SentenceTransformer(str(folder), device="cpu")) is None
    assert served(folder).embed_queries(TEXTS) == pytest.approx(plainly(folder, TEXTS), abs=1e-6)


def test_models_without_a_bert_or_in_other_numbers_keep_their_own_code(tmp_path: Path) -> None:
    """Static word vectors, and weights in 16 bits."""
    assert packed_body(SentenceTransformer(str(save_static(tmp_path / "static")), device="cpu")) is None
    assert packed_body(load_composed(device="cpu").to(torch.bfloat16)) is None


class Wrong:
    """Kernels whose products are off by a thousandth."""

    def __init__(self) -> None:
        self._exact = torch.ops.mkldnn

    def __getattr__(self, name: str) -> object:
        kernel = getattr(self._exact, name)
        return kernel if name == "_reorder_linear_weight" else lambda *given: kernel(*given) * 1.001


@pytest.mark.parametrize("kernels", [Wrong(), torch.ops.no_such_library], ids=["wrong", "missing"])
def test_kernels_that_are_not_there_or_compute_something_else_are_not_used(
    kernels: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is noticed before anything is embedded with them, and told; torch's own products take their place."""
    folder = save_model(tmp_path / "model")
    monkeypatch.setattr(torch.ops, "mkldnn", kernels)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert served(folder).embed_queries(TEXTS) == pytest.approx(plainly(folder, TEXTS), abs=1e-6)
    assert "computes with unpacked weights" in caplog.text


def test_other_processors_compute_with_the_same_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where oneDNN has no such kernels, torch's own products take their place, without padding all the same."""
    expected = served("bundled").embed_queries(TEXTS)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert served("bundled").embed_queries(TEXTS) == pytest.approx(expected, abs=1e-6)

"""The packed BERT: the vectors of transformers without padding, and only where they are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from app import packed_bert
from app.compose import load_composed
from app.embedder import Embedder, load_embedder
from app.packed_bert import TOKENS, pack, parts
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
    texts = TEXTS * 3
    expected = model.encode(texts, show_progress_bar=False)
    assert sum(len(ids) for ids in model.tokenizer(texts, max_length=256, truncation=True)["input_ids"]) > TOKENS / 2
    assert np.abs(embedder.embed_documents(texts).vectors - expected).max() < 1e-6
    alone = np.concatenate([embedder.embed_queries([text]) for text in TEXTS])
    assert np.abs(alone - expected[: len(TEXTS)]).max() < 1e-6


def test_a_body_of_several_layers_and_other_widths(tmp_path: Path) -> None:
    """Nothing is taken for granted about the number of layers, heads or the width."""
    folder = save_model(tmp_path / "model", width=96, num_hidden_layers=3, num_attention_heads=4)
    assert pack(SentenceTransformer(str(folder), device="cpu")) is not None
    assert served(folder).embed_queries(TEXTS) == pytest.approx(plainly(folder, TEXTS), abs=1e-6)


def test_parts_keep_the_order_and_the_bound() -> None:
    """A text longer than the bound is a part of its own; every text is in one."""
    lengths = [TOKENS, 1, TOKENS - 1, 2, 2 * TOKENS, 3]
    assert list(parts(lengths)) == [[TOKENS], [1, TOKENS - 1], [2], [2 * TOKENS], [3]]


@pytest.mark.parametrize("other", [{"hidden_act": "gelu_new"}, {"is_decoder": True}, {"output_hidden_states": True}])
def test_another_kind_of_bert_keeps_its_own_code(tmp_path: Path, other: dict[str, object]) -> None:
    """Whatever the packed one does not know is left to transformers, with the same vectors as ever."""
    folder = save_model(tmp_path / "model", **other)
    assert pack(SentenceTransformer(str(folder), device="cpu")) is None
    assert served(folder).embed_queries(TEXTS) == pytest.approx(plainly(folder, TEXTS), abs=1e-6)


def test_models_without_a_bert_or_in_other_numbers_keep_their_own_code(tmp_path: Path) -> None:
    """Static word vectors, and weights in 16 bits."""
    assert pack(SentenceTransformer(str(save_static(tmp_path / "static")), device="cpu")) is None
    assert pack(load_composed(device="cpu").to(torch.bfloat16)) is None


def test_kernels_that_compute_something_else_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A product that is off by a thousandth is noticed before anything is embedded with it, and told."""
    folder, exact = save_model(tmp_path / "model"), packed_bert._linear
    monkeypatch.setattr(packed_bert, "_linear", lambda *layers: lambda x: exact(*layers)(x) * 1.001)
    assert served(folder).embed_queries(TEXTS) == pytest.approx(plainly(folder, TEXTS), abs=1e-6)
    assert "packed weights give other vectors here" in caplog.text


def test_a_torch_without_these_kernels_is_served_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing operator is told, and transformers computes."""
    folder = save_model(tmp_path / "model")
    monkeypatch.setattr(torch.ops, "mkldnn", torch.ops.no_such_library)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert served(folder).embed_queries(TEXTS) == pytest.approx(plainly(folder, TEXTS), abs=1e-6)
    assert "no_such_library" in caplog.text


def test_other_processors_compute_with_the_same_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where oneDNN has no such kernels, torch's own products take their place, without padding all the same."""
    expected = served("bundled").embed_queries(TEXTS)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert served("bundled").embed_queries(TEXTS) == pytest.approx(expected, abs=1e-6)

"""A head on cached features: it changes nothing at first, only it is trained, and the folder is a whole model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.compose import load_folder
from app.model import load_model
from app.settings import Settings
from app.train import train
from app.train_head import encode_cached, over_features, texts_of, with_head
from app.train_model import open_base
from app.train_rows import read_sets
from app.train_settings import TrainError
from tiny_models import save_model, save_static
from training_data import PAIRS, SCORED, TRIPLETS, settings, silent, write

TEXTS = ["sort a list", "open the file"]


def nobody(done: int, total: int) -> None:
    """Nobody watches."""


def test_only_the_head_is_trained(tmp_path: Path) -> None:
    """The body's weights are those of the base; the matrix is no longer the identity; the prefix is served."""
    train(settings(tmp_path, PAIRS, head_only=True, learning_rate=1e-2, widths=(8, 4)), silent)
    base, whole = (open_base(str(tmp_path / name), "cpu") for name in ("base", "out"))
    after = whole.state_dict()
    assert all(after[name].equal(tensor) for name, tensor in base.state_dict().items())
    (head,) = [tensor for name, tensor in after.items() if name.endswith("linear.weight") and "auto" not in name]
    assert not torch.allclose(head, torch.eye(16))
    model = load_model(Settings(model=str(tmp_path / "out"), _env_file=None))
    assert (model.space.dim, model.space.prefix_dim, model.matryoshka_dims) == (16, 4, (16, 8, 4))


def test_an_untrained_head_changes_nothing(tmp_path: Path) -> None:
    """Its orthogonal start is the identity: the whole model gives the base's vectors."""
    base = open_base(str(save_model(tmp_path / "m", 16)), "cpu")
    (one,) = read_sets(write(tmp_path / "a.jsonl", PAIRS))
    small = over_features(base, [one], tmp_path / "cache", nobody)
    texts = one.columns["anchor"]
    expected = base.encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(small.encode(texts, show_progress_bar=False), expected, atol=1e-6)
    np.testing.assert_allclose(with_head(base, small).encode(texts, show_progress_bar=False), expected, atol=1e-6)


def test_what_was_trained_is_what_is_saved(tmp_path: Path) -> None:
    """The scores of the last evaluation, on features, are those of the saved folder on texts."""
    chosen = settings(tmp_path, SCORED, head_only=True, learning_rate=1e-2, eval=(str(tmp_path / "rows.jsonl"),))
    outcome = train(chosen, silent)
    again = settings(
        tmp_path, SCORED, base=str(outcome.folder), out=tmp_path / "again", learning_rate=0.0, eval=chosen.eval
    )
    assert train(again, silent).before["rows Spearman"] == pytest.approx(outcome.after["rows Spearman"], abs=1e-6)


def test_features_are_computed_once(tmp_path: Path) -> None:
    """A second run reads them from disk; another model has features of its own."""
    texts = ["sort", "list", "sort list"]
    base = open_base(str(save_model(tmp_path / "m", 16)), "cpu")
    first = encode_cached(base, texts, tmp_path / "cache", nobody)
    (file,) = (tmp_path / "cache").iterdir()
    np.save(file, first + 1)
    np.testing.assert_array_equal(encode_cached(base, texts, tmp_path / "cache", nobody), first + 1)
    other = open_base(str(save_model(tmp_path / "n", 16, seed=1)), "cpu")
    encode_cached(other, texts, tmp_path / "cache", nobody)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_texts_stand_behind_the_prompts_of_their_columns(tmp_path: Path) -> None:
    """A text that is anchor and positive has two features."""
    base = load_folder(str(save_model(tmp_path / "m", 16, prompts={"query": "query: ", "document": ""})), device="cpu")
    (one,) = read_sets(write(tmp_path / "a.jsonl", [{"anchor": "sort", "positive": "sort", "negative": "list"}]))
    assert texts_of([one], base) == ["query: sort", "sort", "list"]
    train(settings(tmp_path, TRIPLETS, base=str(tmp_path / "m"), head_only=True, held_out=0.3), silent)


@pytest.mark.parametrize("loss", ["cached-mnrl", "triplet"])
def test_other_losses_train_a_head(loss: str, tmp_path: Path) -> None:
    """The same table as for whole models."""
    assert train(settings(tmp_path, TRIPLETS, head_only=True, losses=(loss,)), silent).finished


def test_a_table_of_word_vectors_gets_a_head(tmp_path: Path) -> None:
    """Any base whose output is a vector will do."""
    base = str(save_static(tmp_path / "words"))
    assert train(settings(tmp_path, PAIRS, base=base, head_only=True), silent).finished


@pytest.mark.parametrize("other", [{"resume": True}, {"shape": "2d"}])
def test_what_a_head_cannot_do_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    """Neither resuming nor layers."""
    with pytest.raises(TrainError, match="--head-only"):
        train(settings(tmp_path, PAIRS, head_only=True, **other), silent)

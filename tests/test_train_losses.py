"""The table of losses: every name trains a step, each set gets the loss that fits it, wrong choices are refused."""

from pathlib import Path
from typing import Any

import pytest
from sentence_transformers.sentence_transformer import losses as library
from sentence_transformers.sentence_transformer.modules import Transformer

from app.losses import LOSSES, build_loss, choose_losses
from app.train import train
from app.train_model import open_base
from app.train_rows import Kind, TrainingSet, read_sets
from app.train_settings import Shape, TrainError, TrainSettings
from tiny_models import save_static
from training_data import PAIRS, SCORED, TRIPLETS, settings, silent, write

ROWS: dict[Kind, list[dict[str, Any]]] = {"pairs": PAIRS, "triplets": TRIPLETS, "scored": SCORED}


def read(tmp_path: Path, kind: Kind) -> TrainingSet:
    """One set of a kind, named after it."""
    (one,) = read_sets(write(tmp_path / kind / "train.jsonl", ROWS[kind]), score_range=(0, 5))
    return one


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, row in LOSSES.items() for kind in row.kinds])
def test_every_loss_trains_a_step(name: str, kind: Kind, tmp_path: Path) -> None:
    """With each kind of set that the table says it takes; the weights move."""
    chosen = settings(tmp_path, ROWS[kind], losses=(name,), max_steps=1, warmup=0.0, learning_rate=1e-2)
    train(chosen, silent)
    before, after = (open_base(str(folder), "cpu").state_dict() for folder in (tmp_path / "base", tmp_path / "out"))
    assert any(not before[key].equal(after[key]) for key in before)


@pytest.mark.parametrize("shape", ["matryoshka", "2d", "layers", "none"])
def test_the_shape_is_what_stands_around_the_loss(shape: Shape, tmp_path: Path) -> None:
    """The classes of sentence-transformers, one in another."""
    chosen = settings(tmp_path, SCORED, shape=shape, width_weights=(2.0, 1.0), widths_per_step=1)
    loss: Any = build_loss(open_base(chosen.base, "cpu"), "cosent", chosen, (16, 8))
    found = [type(loss).__name__]
    while isinstance(inner := getattr(loss, "loss", None), (library.MatryoshkaLoss, library.CoSENTLoss)):
        loss = inner
        found.append(type(loss).__name__)
    assert (
        found
        == {
            "matryoshka": ["MatryoshkaLoss", "CoSENTLoss"],
            "2d": ["Matryoshka2dLoss", "MatryoshkaLoss", "CoSENTLoss"],
            "layers": ["AdaptiveLayerLoss", "CoSENTLoss"],
            "none": ["CoSENTLoss"],
        }[shape]
    )


def test_widths_weights_and_draws_reach_the_loss(tmp_path: Path) -> None:
    """As given, widest first."""
    chosen = settings(tmp_path, PAIRS, width_weights=(2.0, 1.0), widths_per_step=1)
    loss: Any = build_loss(open_base(chosen.base, "cpu"), "mnrl", chosen, (16, 8))
    assert (loss.matryoshka_dims, loss.matryoshka_weights, loss.n_dims_per_step) == ((16, 8), (2.0, 1.0), 1)


def test_each_set_takes_the_first_loss_that_fits(tmp_path: Path) -> None:
    """Without a choice: mnrl for texts, its cached form for large batches, cosent for scores."""
    sets = [read(tmp_path, kind) for kind in ROWS]
    usual = {"pairs": "mnrl", "triplets": "mnrl", "scored": "cosent"}
    assert choose_losses(sets, settings(tmp_path, PAIRS)) == usual
    cached = choose_losses(sets, settings(tmp_path, PAIRS, mini_batch=2))
    assert cached == {"pairs": "cached-mnrl", "triplets": "cached-mnrl", "scored": "cosent"}
    chosen = settings(tmp_path, PAIRS, losses=("triplet", "angle", "symmetric"))
    assert choose_losses(sets, chosen) == {"pairs": "symmetric", "triplets": "triplet", "scored": "angle"}


@pytest.mark.parametrize(
    ("kind", "other", "reason"),
    [
        ("pairs", {"losses": ("infonce",)}, "no such loss; known are mnrl"),
        ("pairs", {"losses": ("cosent",)}, r"cosent takes scored, and no set uses it \(pairs: pairs\)"),
        ("pairs", {"losses": ("cached-mnrl",), "shape": "2d"}, "several layers"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(kind: Kind, other: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """With what would fit."""
    with pytest.raises(TrainError, match=reason):
        choose_losses([read(tmp_path, kind)], settings(tmp_path, PAIRS, **other))


def test_a_triplet_has_one_negative(tmp_path: Path) -> None:
    """Both numbers are said."""
    (two,) = read_sets(write(tmp_path / "two.jsonl", [PAIRS[0] | {"negatives": ["x", "y"]}]))
    with pytest.raises(TrainError, match="takes 1 negative a row, two has 2"):
        choose_losses([two], settings(tmp_path, PAIRS, losses=("triplet",)))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"widths": (32, 8)}, "expected 1 to 16, the width of the base, got 32"),
        ({"widths": (0,)}, "expected 1 to 16, the width of the base, got 0"),
        ({"width_weights": (1.0,)}, r"2 widths \(16, 8\) but 1 weights"),
        ({"widths_per_step": 3}, "expected -1 or 1 to 2, got 3"),
        ({"layers": 4}, "has 1 layers, expected 1 to 1"),
    ],
)
def test_widths_and_layers_must_fit_the_base(other: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """What was asked and what there is."""
    with pytest.raises(TrainError, match=reason):
        train(settings(tmp_path, PAIRS, **other), silent)
    assert not (tmp_path / "out").exists()


def test_only_a_transformer_is_cut_in_depth(tmp_path: Path) -> None:
    """A table of word vectors has no layers."""
    chosen: TrainSettings = settings(tmp_path, PAIRS, base=str(save_static(tmp_path / "static")), shape="2d")
    with pytest.raises(TrainError, match="StaticEmbedding: only a Transformer"):
        train(chosen, silent)
    assert not isinstance(open_base(chosen.base, "cpu")[0], Transformer)

"""Training from files to a folder that is served: a few steps of a tiny model, everything else as in earnest."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr

from app.compose import load_folder
from app.model import load_model
from app.settings import Settings
from app.train import train
from app.train_evaluation import EncodedOnce, WidthsEvaluator, split
from app.train_model import keep_layers, layers_of, open_base
from app.train_rows import read_sets
from app.train_sets import as_datasets, gather, prompts_by_set, rows_of_epoch, with_negatives
from app.train_settings import Source, TrainError, TrainSettings, default_widths, parse_source
from index.matryoshka import prefixes
from tiny_models import WORDS, save_body, save_model, save_static
from training_data import PAIRS, SCORED, TRIPLETS, settings, silent, write


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What was saved."""
    return load_file(folder / "model.safetensors")


def served(folder: Path) -> Any:
    """The folder as `FUNNEL_MODEL=folder funnel serve` opens it."""
    return load_model(Settings(model=str(folder), _env_file=None))


def test_ten_pairs_make_a_model_that_is_served_with_its_prefix(tmp_path: Path) -> None:
    """Its trained widths are read from the folder, and the narrowest makes the prefix without being asked."""
    outcome = train(settings(tmp_path, PAIRS, widths=(8, 4)), silent)
    model = served(outcome.folder)
    assert (outcome.finished, outcome.steps, outcome.widths) == (True, 3, (16, 8, 4))
    assert (model.space.dim, model.space.prefix_dim, model.space.exact_only) == (16, 4, False)
    assert model.matryoshka_dims == (16, 8, 4)
    assert prefixes(model.embed_queries(["sort a list"]), 4).shape == (1, 4)


def test_the_model_learns(tmp_path: Path) -> None:
    """After some steps the loss is lower than at the start, and the pairs are closer than other texts."""
    losses: list[float] = []
    chosen = settings(tmp_path, PAIRS, max_steps=30, learning_rate=5e-3, report_every=1)
    train(chosen, lambda what, done, total, loss: losses.append(loss))
    assert np.nanmean(losses[-5:]) < 0.7 * np.nanmean(losses[:5])


def test_a_twin_claims_no_width(tmp_path: Path) -> None:
    """Without the Matryoshka loss the folder does not say that it may be cut, even if its base did."""
    train(settings(tmp_path, PAIRS, out=tmp_path / "first"), silent)
    train(settings(tmp_path, PAIRS, base=str(tmp_path / "first"), shape="none"), silent)
    assert served(tmp_path / "out").space.exact_only


@pytest.mark.parametrize("kind", ["transformers", "static"])
def test_other_bases(kind: str, tmp_path: Path) -> None:
    """A bare transformers folder gets mean pooling; a table of word vectors states its widths in its card."""
    make = {"transformers": lambda: save_body(tmp_path / "bare", 16), "static": lambda: save_static(tmp_path / "words")}
    base = make[kind]()
    train(settings(tmp_path, PAIRS, base=str(base), widths=(8,)), silent)
    assert served(tmp_path / "out").space.prefix_dim == 8


def test_a_base_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    """With what could be given instead; nothing is written."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainError, match=r"empty cannot be loaded: .*hub id"):
        train(settings(tmp_path, PAIRS, base=str(tmp_path / "empty")), silent)
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_no_folder_is_said(tmp_path: Path) -> None:
    """What looks like a path is not asked for at a hub."""
    with pytest.raises(TrainError, match=r"absent cannot be loaded: there is no such folder"):
        train(settings(tmp_path, PAIRS, base=str(tmp_path / "absent")), silent)


def test_every_width_is_evaluated_before_and_after(tmp_path: Path) -> None:
    """In the trainer's log, in the record, and in the card with the command."""
    scored = settings(tmp_path, SCORED, held_out=0.4, widths=(8, 4))
    outcome = train(scored, silent, "funnel train base --out here")
    assert set(outcome.before["rows Spearman"]) == set(outcome.after["rows Spearman"]) == {16, 8, 4}
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert {f"eval_rows-{width}_spearman_cosine" for width in (16, 8, 4)} <= set(record["log"][0])
    assert record["after"]["rows Spearman"]["8"] == pytest.approx(outcome.after["rows Spearman"][8])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| rows Spearman | after | " + f"{outcome.after['rows Spearman'][16]:.4f} |" in card
    assert "funnel train base --out here" in card
    assert '"matryoshka_dims": [' in card


def test_a_file_can_be_evaluated_on(tmp_path: Path) -> None:
    """Then no row is held out; pairs are measured as retrieval."""
    other = write(tmp_path / "other.jsonl", TRIPLETS[:6])
    outcome = train(settings(tmp_path, PAIRS, eval=(other.path,), held_out=0.5), silent)
    assert list(outcome.after) == ["other nDCG@10"]
    assert json.loads((tmp_path / "out" / "training.json").read_text())["rows"] == {"rows": 10}


def test_scores_by_width_are_those_of_the_prefixes(tmp_path: Path) -> None:
    """The evaluators of sentence-transformers get vectors that were made once; Spearman is that of the cut vectors."""
    (one,) = read_sets(write(tmp_path / "a.jsonl", SCORED), score_range=(0, 5))
    model = load_folder(str(save_model(tmp_path / "m", 16)), device="cpu")
    evaluator = WidthsEvaluator([one], (16, 8), 4)
    evaluator(model)
    first, second = (model.encode(one.columns[name], show_progress_bar=False) for name in ("sentence1", "sentence2"))
    cosines = (prefixes(first, 8) * prefixes(second, 8)).sum(axis=1)
    expected = spearmanr(cosines, one.columns["score"]).statistic
    assert evaluator.history[0]["a Spearman"][8] == pytest.approx(expected, abs=1e-6)
    kept = EncodedOnce(model)
    whole, cut = (
        kept.encode(one.columns["sentence1"], truncate_dim=width, show_progress_bar=False) for width in (16, 8)
    )
    assert np.shares_memory(whole, cut)
    assert cut.shape == (10, 8)


def test_held_out_rows_are_not_trained_on(tmp_path: Path) -> None:
    """Every row is on one side; the seed decides which; at most `held_out_rows` are taken."""
    (one,) = read_sets(write(tmp_path / "a.jsonl", PAIRS))
    kept, held = split(one, settings(tmp_path, PAIRS, held_out=0.3))
    assert held is not None
    assert sorted(kept.columns["anchor"] + held.columns["anchor"]) == sorted(one.columns["anchor"])
    assert len(held) == 3
    other = split(one, settings(tmp_path, PAIRS, held_out=0.3, seed=1))[1]
    assert other is not None
    assert other.columns != held.columns
    assert (
        split(one, settings(tmp_path, PAIRS, held_out=0.3, held_out_rows=2))[1]
        == split(one, settings(tmp_path, PAIRS, held_out=0.2))[1]
    )
    assert split(one, settings(tmp_path, PAIRS, held_out=0.1))[1] is None


def test_proportions_are_those_of_the_weights(tmp_path: Path) -> None:
    """A set of 10 rows that weighs three times as much as one of 8 is repeated; no row of either is left out."""
    sources = (write(tmp_path / "a.jsonl", PAIRS), write(tmp_path / "b.jsonl", TRIPLETS[:8]))
    weighted = tuple(Source(one.path, weight) for one, weight in zip(sources, (3.0, 1.0), strict=True))
    sets, _ = gather(settings(tmp_path, PAIRS, data=weighted))
    first, second = rows_of_epoch(sets, 0)
    assert (len(first), len(second)) == (24, 8)
    assert set(first) == set(range(10))
    assert set(second) == set(range(8))
    assert {name: len(rows) for name, rows in as_datasets(sets, 0).items()} == {"a": 24, "b": 8}
    train(settings(tmp_path, PAIRS, data=weighted, max_steps=-1, batch=4), silent)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["rows"] == {"a": 24, "b": 8}


def test_without_weights_every_row_comes_once(tmp_path: Path) -> None:
    """Two files of one name get names of their own; a weight for one of them alone is refused."""
    one, two = write(tmp_path / "x" / "pairs.jsonl", PAIRS), write(tmp_path / "y" / "x.jsonl", PAIRS[:4])
    sets, _ = gather(settings(tmp_path, PAIRS, data=(one, two)))
    assert [(one.name, len(rows)) for one, rows in zip(sets, rows_of_epoch(sets, 0), strict=True)] == [
        ("x", 10),
        ("x-2", 4),
    ]
    with pytest.raises(TrainError, match="every --data"):
        gather(settings(tmp_path, PAIRS, data=(Source(one.path, 0.5), two)))


def test_a_weight_stands_after_the_last_colon() -> None:
    """A name may hold colons; a weight is above 0."""
    assert parse_source("a.jsonl:0.5") == Source("a.jsonl", 0.5)
    assert parse_source("C:/data/a.jsonl") == Source("C:/data/a.jsonl")
    assert parse_source("a.jsonl") == Source("a.jsonl")
    with pytest.raises(TrainError, match="above 0, got -1"):
        parse_source("a.jsonl:-1")


def test_default_widths_halve() -> None:
    """From the full width down to 32, or to 8 of a small model."""
    assert default_widths(768) == (768, 512, 256, 128, 64, 32)
    assert default_widths(384) == (384, 256, 128, 64, 32)
    assert default_widths(16) == (16, 8)


def test_mined_negatives_answer_other_anchors(tmp_path: Path) -> None:
    """A mined text is one of the set and never the pair's own; too many are refused with the number."""
    rows = [{"anchor": word, "positive": f"{word} {word}"} for word in WORDS]
    (one,) = read_sets(write(tmp_path / "a.jsonl", rows))
    model = load_folder(str(save_model(tmp_path / "m", 32)), device="cpu")
    mined = with_negatives(one, model, 2, 8)
    assert mined.kind == "triplets"
    assert len(mined) + mined.dropped == len(one)
    columns = mined.columns
    for positive, *negatives in zip(columns["positive"], columns["negative_1"], columns["negative_2"], strict=True):
        assert set(negatives) <= {row["positive"] for row in rows} - {positive}
    with pytest.raises(TrainError, match="--mine-negatives 40: none of the 19 pairs"):
        with_negatives(one, model, 40, 8)


def test_the_prompts_of_the_base_are_put_before_the_texts(tmp_path: Path) -> None:
    """Queries get one, documents another, scored sentences none; a base without prompts has nothing to say."""
    sets, _ = gather(settings(tmp_path, PAIRS, data=(write(tmp_path / "a.jsonl", TRIPLETS),)))
    base = open_base(str(save_model(tmp_path / "m", 16, prompts={"query": "query: ", "passage": "document: "})), "cpu")
    assert prompts_by_set(sets, base) == {
        "a": {"anchor": "query: ", "positive": "document: ", "negative": "document: "}
    }
    assert prompts_by_set(sets, open_base(str(save_model(tmp_path / "n", 16)), "cpu")) is None
    train(settings(tmp_path, TRIPLETS, base=str(tmp_path / "m")), silent)
    assert served(tmp_path / "out").space.fingerprint["query_prompt"] == "query: "


def interrupted(chosen: TrainSettings, step: int) -> None:
    """Train, and press Ctrl-C during this step."""

    def press(what: str, done: int, total: int, loss: float) -> None:
        if done == step:
            signal.raise_signal(signal.SIGINT)

    outcome = train(chosen, press)
    assert (outcome.finished, outcome.steps) == (False, step)


@pytest.mark.parametrize("shape", ["matryoshka", "2d"])
def test_a_resumed_training_gives_the_same_weights(shape: Any, tmp_path: Path) -> None:
    """Ctrl-C in the second of six steps, then on from there: bit for bit what an uninterrupted training gives.

    Dropout, the order of rows and the widths drawn for a step are all in the checkpoint.
    """
    common: dict[str, Any] = {
        "max_steps": 6,
        "shape": shape,
        "widths_per_step": 1,
        "learning_rate": 1e-2,
        "held_out": 0.2,
    }
    common["depth"] = 2
    whole = settings(tmp_path, PAIRS, out=tmp_path / "whole", **common)
    common.pop("depth")
    train(whole, silent)
    interrupted(settings(tmp_path, PAIRS, **common), 2)
    assert not (tmp_path / "out" / "modules.json").exists()
    train(settings(tmp_path, PAIRS, **common, resume=True), silent)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert all(one[name].equal(other[name]) for name in one)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_folder_is_never_written_over(tmp_path: Path) -> None:
    """Not a finished model, nor a training that was begun, nor one with other settings."""
    chosen = settings(tmp_path, PAIRS, max_steps=4)
    with pytest.raises(TrainError, match="no checkpoint in"):
        train(settings(tmp_path, PAIRS, resume=True), silent)
    interrupted(chosen, 1)
    with pytest.raises(TrainError, match="go on with --resume"):
        train(chosen, silent)
    with pytest.raises(TrainError, match=r"another training .*batch: 5 -> 4"):
        train(settings(tmp_path, PAIRS, max_steps=4, batch=4, resume=True), silent)
    train(settings(tmp_path, PAIRS, max_steps=4, resume=True), silent)
    with pytest.raises(TrainError, match="holds a model already"):
        train(chosen, silent)


def test_a_model_trained_in_two_dimensions_is_cut_and_loaded_again(tmp_path: Path) -> None:
    """Layers and widths end to end: trained with Matryoshka2dLoss, saved with one layer of two, served."""
    train(settings(tmp_path, SCORED, shape="2d", depth=2), silent)
    whole = open_base(str(tmp_path / "out"), "cpu")
    assert len(layers_of(whole)) == 2
    expected = whole.encode(["sort a list"], show_progress_bar=False)
    keep_layers(whole, 1).save_pretrained(str(tmp_path / "cut"))
    cut = open_base(str(tmp_path / "cut"), "cpu")
    assert len(layers_of(cut)) == 1
    assert not np.allclose(cut.encode(["sort a list"], show_progress_bar=False), expected)
    assert served(tmp_path / "cut").space.prefix_dim == 8


def test_the_base_can_be_cut_before_training(tmp_path: Path) -> None:
    """`layers` of the settings."""
    train(settings(tmp_path, PAIRS, layers=1, depth=2), silent)
    assert len(layers_of(open_base(str(tmp_path / "out"), "cpu"))) == 1

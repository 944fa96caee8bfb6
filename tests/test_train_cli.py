"""The command `funnel train`: help that teaches, a training from end to end, errors in one line, Ctrl-C."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from app import cli_training
from app.cli_training import numbers, score_range_of, shape_of
from app.train_settings import TrainError
from app.train_watch import Watch
from cli_runner import Run, runner
from tiny_models import save_model
from training_data import PAIRS, SCORED, write


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `funnel` in a folder with a small base, pairs, and scored pairs."""
    save_model(tmp_path / "base", 16)
    write(tmp_path / "pairs.jsonl", PAIRS)
    write(tmp_path / "scored.jsonl", SCORED)
    return runner(monkeypatch, capsys, tmp_path)


def test_the_help_teaches(run: Run) -> None:
    """Three examples, and what to do with the result."""
    told = run("train", "--help").out
    assert told.count("funnel train ") >= 3
    assert "funnel serve" in told
    assert "--matryoshka-dims" in told


def test_a_model_is_trained_and_its_widths_are_shown(run: Run, tmp_path: Path) -> None:
    """Every option that changes the training reaches the record; the table and the next step are printed."""
    options = ["--max-steps", 2, "--batch", 4, "--held-out", 0.4, "--matryoshka-dims", "8,4", "--loss", "cosine"]
    done = run("train", "base", "--data", "scored.jsonl", "--score-range", "0,5", "--out", "mine", *options)
    assert done.code == 0, done.err
    assert "scored Spearman" in done.out
    assert "measured on few rows (scored: 4)" in done.err
    assert "FUNNEL_MODEL=mine funnel serve" in done.out
    record = json.loads((tmp_path / "mine" / "training.json").read_text())
    assert record["command"].startswith("funnel train base --data scored.jsonl")
    assert record["losses"] == {"scored": "cosine"}
    assert set(record["after"]["scored Spearman"]) == {"16", "8", "4"}


def test_a_mix_is_trained_with_a_loss_for_each(run: Run, tmp_path: Path) -> None:
    """Pairs and scored pairs in one training, three rows of the one to one of the other."""
    data = ["--data", "pairs.jsonl:3", "--data", "scored.jsonl:1", "--score-range", "0,5"]
    assert run("train", "base", *data, "--out", "mine", "--held-out", 0, "--batch", 5).code == 0
    record = json.loads((tmp_path / "mine" / "training.json").read_text())
    assert sorted(record["losses"].values()) == ["cosent", "mnrl"]
    assert sorted(record["rows"].values()) == [10, 30]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--data", "absent.jsonl"], "no such file"),
        (["--data", "scored.jsonl"], "run from 0 to 5, expected 0 to 1"),
        (["--data", "pairs.jsonl:0"], "a weight is a number above 0, got 0"),
        (["--data", "pairs.jsonl", "--matryoshka-dims", "64"], "1 to 16, the width of the base, got 64"),
        (["--data", "pairs.jsonl", "--matryoshka-2d", "--no-matryoshka"], "at most 1, got 2"),
        (["--data", "pairs.jsonl", "--resume"], "no checkpoint"),
    ],
)
def test_errors_are_one_line(options: list[str], reason: str, run: Run, tmp_path: Path) -> None:
    """Exit code 1, nothing written."""
    done = run("train", "base", "--out", "mine", *options)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: ")
    assert reason in done.err
    assert not (tmp_path / "mine").exists()


def test_without_the_extra_one_line_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both packages are named."""
    monkeypatch.setattr(cli_training, "find_spec", lambda name: None)
    done = run("train", "base", "--data", "pairs.jsonl", "--out", "mine")
    assert done.code == 1
    expected = "training needs accelerate and datasets, not installed here: pip install 'funnel-search[train]'"
    assert done.err.splitlines()[-1] == f"error: {expected}"


def test_ctrl_c_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkpoint is there, exit code 130; the same command with --resume finishes."""
    command = ["train", "base", "--data", "pairs.jsonl", "--out", "mine", "--held-out", 0, "--max-steps", 4]
    told = Watch.on_step_end

    def press(self: Watch, arguments: Any, state: Any, control: Any, **kwargs: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        told(self, arguments, state, control, **kwargs)

    with monkeypatch.context() as pressed:
        pressed.setattr(Watch, "on_step_end", press)
        done = run(*command)
    assert done.code == 130
    assert "--resume" in done.err
    assert list((tmp_path / "mine" / "checkpoints").glob("checkpoint-*"))
    assert run(*command, "--resume").code == 0
    assert (tmp_path / "mine" / "modules.json").exists()


def test_options_are_parsed() -> None:
    """Or refused with what was given."""
    assert numbers("256, 64", "--x") == (256, 64)
    assert numbers(None, "--x") == ()
    assert score_range_of("0,5") == (0, 5)
    assert shape_of(True, False, False) == "2d"
    for wrong in ("5,0", "5", "a,b"):
        with pytest.raises(TrainError, match=r"--score-range"):
            score_range_of(wrong)

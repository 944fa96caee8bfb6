"""`funnel evaluate` with a tiny model, from files to a folder."""

import json
import sys
from pathlib import Path

import pytest

from cli_runner import Run, runner
from evaluation_cases import write_collection
from tiny_models import save_static

OPTIONS = ("--no-baselines", "--widths", "16,8", "--shortlists", "10,20")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in an empty folder that holds a model and data."""
    save_static(tmp_path / "model")
    write_collection(tmp_path / "notes")
    (tmp_path / "pairs.tsv").write_text(
        "sentence1\tsentence2\tscore\nparse date\tparse a date\t5\nsort list\topen file\t0\nread text\tread path\t2\n"
    )
    return runner(monkeypatch, capsys, tmp_path)


def test_from_files_to_a_folder(run: Run, tmp_path: Path) -> None:
    """Tables for people; JSON, Markdown and plots to keep."""
    done = run("evaluate", "notes", "pairs.tsv", "-m", "model", "--out", "report", *OPTIONS)
    assert done.code == 0, done.err
    assert "model by width" in done.out
    assert "through the funnel" in done.out
    assert "written to report" in done.err
    results = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert [row["width"] for row in results["collections"]["notes"]["models"]["model"]["widths"]] == [32, 16, 8]
    assert results["collections"]["notes"]["queries"] == 2
    (similarity,) = results["similarity"].values()
    assert similarity["pairs"] == 3
    assert len(list((tmp_path / "report" / "plots").iterdir())) == 6


def test_as_json(run: Run) -> None:
    """Standard output is JSON and nothing else."""
    done = run("evaluate", "notes", "-m", "model", "--json", "--stages", "32:20", *OPTIONS)
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["collections"]["notes"]["models"]["model"]["funnel"]
    assert row["stages"] == [[32, 10]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere: there is no such file or folder"),
        (["notes", "--widths", "wide"], "--widths takes whole numbers with commas, got 'wide'"),
        (["notes", "--shortlists", "5"], "--shortlists takes numbers of at least 10, got 5"),
        (["notes", "--stages", "wide"], "stages are given as rerank, 64,256 or 64:2000,256:300; got 'wide'"),
        (["notes", "-m", "model", "-m", "model"], "each model is evaluated once; 'model' is named twice"),
        (["notes", "-m", "none"], "FUNNEL_MODEL=none has nothing to embed with"),
    ],
)
def test_errors_are_one_line(run: Run, options: list[str], message: str) -> None:
    """Before anything is embedded."""
    done = run("evaluate", *options)
    assert done.code == 1
    assert message in done.err


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("evaluate", "notes", "-m", "model")
    assert done.code == 1
    assert done.err == "error: this needs matplotlib, which is not installed: pip install 'funnel-search[evaluate]'\n"

"""The command `funnel repair`, and who may have a directory at the same time."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.main import create_app
from app.settings import Settings
from cli_runner import Run, at_work, jsonl, runner
from test_integrity import flip


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command, without a model."""
    run = runner(monkeypatch, capfd, tmp_path)
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    monkeypatch.setenv("FUNNEL_DIM", "16")
    return run


@pytest.fixture
def data(funnel: Run, tmp_path: Path) -> Path:
    """An index of 30 documents with vectors of their own."""
    vectors = np.random.default_rng(0).standard_normal((30, 16)).round(3)
    rows = ({"id": f"d{i}", "text": f"text {i}", "vector": row.tolist()} for i, row in enumerate(vectors))
    assert funnel("ingest", jsonl(tmp_path / "a.jsonl", *rows), "--data-dir", tmp_path / "data").code == 0
    return tmp_path / "data"


def test_nothing_to_repair(funnel: Run, data: Path) -> None:
    """It says so, and so does a dry run."""
    assert "nothing to repair" in funnel("repair", "--data-dir", data).out
    assert "nothing to repair" in funnel("repair", "--data-dir", data, "--dry-run").out


def test_a_flipped_bit_is_set_back(funnel: Run, data: Path) -> None:
    """After a dry run that changes nothing; a start names the command that does it."""
    flip(data / "collections/default/vectors-1.bin", 300)
    refused = funnel("stats", "--data-dir", data)
    assert (refused.code, "`funnel repair`" in refused.err) == (1, True)
    assert "one flipped bit was set back" in funnel("repair", "--data-dir", data, "--dry-run").out
    assert funnel("verify", "--data-dir", data).code == 1
    done = funnel("repair", "--data-dir", data, "--yes")
    assert (done.code, "30 documents, all is well" in done.out) == (0, True)
    assert funnel("verify", "--data-dir", data).code == 0


def test_what_is_lost_is_saved_and_can_be_ingested_again(funnel: Run, data: Path) -> None:
    """With the vector that its user gave, when that is whole."""
    documents = data / "collections/default/documents.sqlite"
    whole = documents.read_bytes()
    assert whole.count(b"text 17") == 1
    documents.write_bytes(whole.replace(b"text 17", b"tear 71"))
    done = funnel("repair", "--data-dir", data, "--yes")
    assert (done.code, "'d17' (row 17): its text or metadata do not match" in done.out) == (0, True)
    (lost,) = data.glob("lost-*.jsonl")
    (saved,) = map(json.loads, lost.read_text().splitlines())
    assert (saved["id"], saved["text"], len(saved["vector"])) == ("d17", "tear 71", 88)
    assert funnel("ingest", lost, "--data-dir", data).code == 0
    assert json.loads(funnel("stats", "--data-dir", data, "--json").out)["count"] == 30


def test_a_directory_that_is_served_is_left_alone(funnel: Run, data: Path, tmp_path: Path) -> None:
    """By every command that would have it for itself, and by a second service."""
    settings = Settings(data_dir=data, model="none", dim=16, _env_file=None)
    with at_work(create_app(settings)):
        for command in ("verify", "repair", "stats", "compact", "serve"):
            refused = funnel(command, "--data-dir", data)
            assert refused.code == 1, command
            assert "is open in another process" in refused.err, command
    assert funnel("verify", "--data-dir", data).code == 0

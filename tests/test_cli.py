"""The command line, against a running service and directly on a directory."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import cli_ingest
from app.client import Client
from app.main import create_app
from app.serving import in_process
from app.settings import Settings
from cli_runner import Run, jsonl, runner, serving
from embedders import HashEmbedder
from index.rotation import Rotation
from index.store import Store

DIM = 8


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "served") as address:
        yield address


@pytest.fixture
def without_model(funnel: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a directory whose documents bring their vectors."""
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    monkeypatch.setenv("FUNNEL_DIM", str(DIM))


def with_vectors(number: int) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(1).standard_normal((number, DIM))
    return [{"id": f"d{n}", "text": f"t{n}", "vector": v.tolist(), "n": n} for n, v in enumerate(vectors)]


def test_help_needs_nothing_heavy() -> None:
    """`funnel --help` answers without importing torch, FAISS, numpy, the web framework, the client or the settings."""
    heavy = "{'torch', 'faiss', 'numpy', 'fastapi', 'sentence_transformers', 'httpx', 'pydantic'}"
    run = "import sys, atexit; from app import cli; sys.argv = ['funnel', '--help']"
    code = f"{run}; atexit.register(lambda: print({heavy} & set(sys.modules) or 'light')); cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ingest" in done.stdout
    assert done.stdout.endswith("light\n")


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_sleep(given: dict[str, str], expected: str) -> None:
    """Said before anything that has threads is loaded, since OpenMP reads it then; who runs it may say otherwise."""
    environ = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    run = "import atexit, os, sys; from app import cli; sys.argv = ['funnel', '--help']"
    said = "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules or 'faiss' in sys.modules)"
    command = [sys.executable, "-c", f"{run}; atexit.register(lambda: {said}); cli.main()"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.endswith(f"{expected} False\n")


@pytest.mark.parametrize(
    "command", ["serve", "ingest", "search", "delete", "info", "stats", "recall", "adapt", "reindex", "verify"]
)
def test_help_teaches_with_an_example(funnel: Run, command: str) -> None:
    """Every command's help shows how it is typed."""
    shown = funnel(command, "--help")
    assert shown.code == 0
    assert shown.out.count(f"funnel {command}") >= 2


def test_ingest_and_search(funnel: Run, url: str, tmp_path: Path) -> None:
    """A file goes in and its documents are found, for people and as JSON."""
    rows = [{"_id": f"d{n}", "title": f"Title {n}", "text": f"words number{n}", "kind": ["even", "odd"][n % 2]}
            for n in range(20)]  # fmt: skip
    stored = funnel("ingest", jsonl(tmp_path / "a.jsonl", *rows), "--url", url)
    assert (stored.code, stored.out) == (0, "20 durable: 20 created; 0 refused\n")
    table = funnel("search", "words number7", "-n", 2, "--url", url, "--explain")
    assert "Title 7" in table.out
    assert "20 documents" in table.out
    assert "fewer than" not in table.out
    assert "compared 0 prefixes and 20 full vectors" in table.out  # so few that all are scanned
    table = funnel("search", "a", "-n", 50, "--url", url)
    assert "fewer than 50: the collection has 20 documents; limit 50" in table.out
    answer = json.loads(funnel("search", "number7", "--words", 0.5, "--url", url, "--json").out)
    assert (answer["score_kind"], answer["results"][0]["id"]) == ("weighted", "d7")
    answer = json.loads(funnel("search", "words number7", "--filter", '{"kind": "odd"}', "--url", url, "--json").out)
    assert answer["results"][0]["id"] == "d7"
    assert {hit["metadata"]["kind"] for hit in answer["results"]} == {"odd"}


def test_ingest_again_is_the_resume(funnel: Run, url: str, tmp_path: Path) -> None:
    """Running the same command again stores the rest and skips what is there."""
    rows = [{"id": f"d{n}", "text": f"t{n}"} for n in range(10)]
    funnel("ingest", jsonl(tmp_path / "a.jsonl", *rows[:6]), "--url", url)
    again = funnel("ingest", jsonl(tmp_path / "a.jsonl", *rows), "--url", url)
    assert again.out == "10 durable: 4 created, 6 unchanged; 0 refused\n"


def test_refused_documents(funnel: Run, url: str, tmp_path: Path) -> None:
    """What cannot be stored is listed with its line and written to a file; the exit code says so."""
    path = jsonl(
        tmp_path / "a.jsonl",
        {"id": "a", "text": "t"},
        "{broken\n",
        "\n",
        {"id": "", "text": " "},
        {"id": "c", "text": "u"},
    )
    done = funnel("ingest", path, "--url", url, "--failures", tmp_path / "failed.jsonl")
    assert done.code == 1
    assert "2 durable: 2 created; 2 refused" in done.out
    assert "line 2: not JSON" in done.err
    failures = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text("utf-8").splitlines()]
    assert [failure["line"] for failure in failures] == [2, 4]


def test_interrupted_ingest(funnel: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C says how many documents are durable, and exits with 130; those are stored."""
    rows = [{"id": f"d{n}", "text": f"t{n}"} for n in range(1_500)]
    path = jsonl(tmp_path / "a.jsonl", *rows)
    records = cli_ingest.read

    def interrupted(*arguments: Any) -> Iterator[Any]:
        for record in records(*arguments):
            if record.line == 1_200:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(cli_ingest, "read", interrupted)
    done = funnel("ingest", path, "--url", url)
    assert done.code == 130
    assert done.out.startswith("1,000 durable")
    assert "run the same command again" in done.err
    with Client(url) as client:
        assert client.count() == 1_000


def test_delete(funnel: Run, url: str, tmp_path: Path) -> None:
    """Documents go by id, or by filter after a question."""
    rows = [{"id": f"d{n}", "text": f"t{n}", "n": n} for n in range(10)]
    funnel("ingest", jsonl(tmp_path / "a.jsonl", *rows), "--url", url)
    assert funnel("delete", "d1", "d2", "nothing", "--url", url).out == "deleted 2\n"
    assert funnel("delete", "--filter", '{"n": {"$gte": 5}}', "--yes", "--url", url).out == "deleted 5\n"
    assert funnel("delete", "--url", url).code == 2
    assert funnel("delete", "--filter", "[1]", "--yes", "--url", url).code == 2
    assert json.loads(funnel("stats", "--json", "--url", url).out)["count"] == 3


def test_info_and_stats(funnel: Run, url: str) -> None:
    """Both print a table, or the service's own JSON."""
    assert "hash-words" in funnel("info", "--url", url).out
    assert json.loads(funnel("info", "--url", url, "--json").out)["dim"] == 32
    assert "count" in funnel("stats", "--url", url).out


def test_url_from_the_environment(funnel: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FUNNEL_URL stands in for --url."""
    monkeypatch.setenv("FUNNEL_URL", url)
    assert json.loads(funnel("stats", "--json").out)["count"] == 0


@pytest.mark.usefixtures("without_model")
def test_directory(funnel: Run, tmp_path: Path) -> None:
    """The commands work on a directory as they do on a service, and verify finds it sound."""
    path, data = jsonl(tmp_path / "a.jsonl", *with_vectors(30)), tmp_path / "data"
    assert funnel("ingest", path, "--data-dir", data).out == "30 durable: 30 created; 0 refused\n"
    assert funnel("delete", "--filter", '{"n": {"$lt": 10}}', "--yes", "--data-dir", data).out == "deleted 10\n"
    assert json.loads(funnel("stats", "--data-dir", data, "--json").out)["count"] == 20
    assert json.loads(funnel("info", "--data-dir", data, "--json").out)["dim"] == DIM
    report = json.loads(funnel("verify", "--data-dir", data, "--json").out)
    assert report["ok"]
    assert report["count"] == 20


@pytest.mark.usefixtures("without_model")
def test_the_directory_of_the_settings(funnel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """verify and reindex take FUNNEL_DATA_DIR when no --data-dir is given, and ask to stop its service first."""
    data = tmp_path / "data"
    funnel("ingest", jsonl(tmp_path / "a.jsonl", *with_vectors(3)), "--data-dir", data)
    monkeypatch.setenv("FUNNEL_DATA_DIR", str(data))
    assert "3 documents, all is well" in funnel("verify").out
    for command in ("verify", "reindex"):
        assert "stop its service first" in funnel(command, "--help").out


@pytest.mark.usefixtures("without_model")
def test_verify_finds_damage(funnel: Run, tmp_path: Path) -> None:
    """A flipped byte of a vector makes verify name the check and exit with 1."""
    data = tmp_path / "data"
    funnel("ingest", jsonl(tmp_path / "a.jsonl", *with_vectors(30)), "--data-dir", data)
    (vectors,) = data.glob("**/vectors-*.bin")
    with vectors.open("r+b") as stream:
        stream.seek(5)
        stream.write(b"\x41\x99")
    done = funnel("verify", "--data-dir", data)
    assert done.code == 1
    assert "wrong" in done.out


@pytest.mark.usefixtures("without_model")
def test_verify_gives_up_a_lost_rotation_when_it_is_asked_to(funnel: Run, tmp_path: Path) -> None:
    """The start is refused with the very command; after it the documents are all there."""
    data = tmp_path / "data"
    funnel("ingest", jsonl(tmp_path / "a.jsonl", *with_vectors(30)), "--data-dir", data)
    with Store.open(data, None) as store:
        turn = np.eye(store.space.dim, dtype=np.float32)[::-1]
        store.rotate(Rotation(turn, (store.space.prefix_dim,), "reversed"))
    (rotation,) = data.glob("**/rotation-*.npy")
    rotation.unlink()
    assert funnel("verify", "--data-dir", data).code == 1
    refused = funnel("stats", "--data-dir", data)
    assert (refused.code, "funnel verify --forget-damaged" in refused.err) == (1, True)
    done = funnel("verify", "--data-dir", data, "--forget-damaged")
    assert (done.code, "given up: rotation" in done.err) == (0, True)
    assert json.loads(funnel("stats", "--data-dir", data, "--json").out)["count"] == 30
    assert "nothing to give up" in funnel("verify", "--data-dir", data, "--forget-damaged").err


def test_reindex(funnel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After reindex the index is that of the new model, with the same documents."""
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)
    app = create_app(settings, HashEmbedder("1"))
    with in_process(app, settings) as transport, Client(transport=transport) as client:
        client.ingest({"id": f"d{n}", "text": f"t{n}"} for n in range(10))
    monkeypatch.setattr("app.embedder.load_embedder", lambda _: HashEmbedder("2"))
    done = funnel("reindex", "--data-dir", settings.data_dir)
    assert (done.code, done.out) == (0, "10 documents are now indexed with hash-words\n")
    space = Store.stored_space(settings.data_dir)
    assert space is not None
    assert space.fingerprint["revision"] == "2"
    assert funnel("verify", "--data-dir", settings.data_dir).code == 0


@pytest.mark.usefixtures("without_model")
def test_reindex_needs_a_model(funnel: Run, tmp_path: Path) -> None:
    """Without a model there is nothing to embed with, and the message says so."""
    data = tmp_path / "data"
    funnel("ingest", jsonl(tmp_path / "a.jsonl", *with_vectors(3)), "--data-dir", data)
    assert "FUNNEL_MODEL" in funnel("reindex", "--data-dir", data).err

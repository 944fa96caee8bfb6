"""`funnel adapt`: it applies what helps, refuses what does not, undoes, and changes nothing when it is stopped."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import cli_adapting
from app.client import Client
from app.embedder import Embedded
from app.main import create_app
from app.settings import Settings
from cli_runner import Run, at_work, jsonl, runner
from embedders import DIM as HASHED
from embedders import HashEmbedder
from index.matryoshka import normalise
from index.space import Space

pytestmark = pytest.mark.usefixtures("one_thread")

DIM, PREFIX = 96, 32
QUICK = ("--steps", 8)


class SpreadEmbedder(HashEmbedder):
    """The 32 numbers of the hashing embedder, spread over 96 by a fixed turn: no prefix is like the whole."""

    def __init__(self) -> None:
        super().__init__()
        turn = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, DIM)))[0]
        self._turn = turn[:HASHED].astype(np.float32)  # (32, 96), orthonormal rows
        self.matryoshka_dims = (DIM, PREFIX)
        self.space = Space(DIM, PREFIX, {"model": "spread"})

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        return Embedded(self.embed_queries(texts), np.zeros(len(texts), dtype=bool))

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        return normalise(super().embed_queries(texts) @ self._turn)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of 1,200 vectors that live in 32 of 96 directions."""
    return stored(tmp_path, spread())


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    run = runner(monkeypatch, capsys, tmp_path)
    for name, value in {"MODEL": "none", "DIM": DIM, "PREFIX_DIM": PREFIX}.items():
        monkeypatch.setenv(f"FUNNEL_{name}", str(value))
    return run


def spread(size: int = 1200, rank: int = PREFIX, seed: int = 0) -> np.ndarray:
    """(size, 96) unit rows that live in `rank` directions, none of them in front."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    return normalise(rng.standard_normal((size, rank)) @ turn[:rank])


def even(seed: int = 0, bases: int = 16) -> np.ndarray:
    """(96 * bases, 96) unit rows without any direction that is stronger than another: whole orthogonal bases."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [np.linalg.qr(rng.standard_normal((DIM, DIM)))[0] for _ in range(bases)]
    ).astype(np.float32)  # fmt: skip


def stored(folder: Path, rows: np.ndarray) -> Path:
    """A directory that holds these vectors."""
    settings = Settings(data_dir=folder / "data", model="none", dim=DIM, prefix_dim=PREFIX, _env_file=None)
    with at_work(create_app(settings)) as url, Client(url) as client:
        client.ingest({"id": f"d{n}", "text": f"t{n}", "vector": row.tolist()} for n, row in enumerate(rows))
    return folder / "data"


def rotation_of(data: Path) -> dict[str, Any] | None:
    """What is in force in a directory."""
    settings = Settings(data_dir=data, model="none", dim=DIM, prefix_dim=PREFIX, _env_file=None)
    with at_work(create_app(settings)) as url, Client(url) as client:
        found: dict[str, Any] | None = client.rotation()["rotation"]
        return found


def test_a_rotation_that_helps_is_applied_and_undone(funnel: Run, data: Path) -> None:
    """The table, one plain sentence, the record in the index; then --undo, and --undo of nothing."""
    done = funnel("adapt", "--data-dir", data, *QUICK)
    assert done.code == 0, done.err
    assert "recall@10 in 50" in done.out
    assert "applied to 1,200 documents" in done.out
    record = rotation_of(data)
    assert record is not None
    assert record["widths"] == [64, 32]
    assert record["energy"] > 0.95
    assert record["measured"]["helps"]
    assert funnel("adapt", "--data-dir", data, "--undo").out.startswith("the rotation is undone")
    assert rotation_of(data) is None
    assert funnel("adapt", "--data-dir", data, "--undo").out == "there is no rotation to undo\n"


def test_exact_results_and_scores_do_not_change(funnel: Run, tmp_path: Path) -> None:
    """To the bit; and the rotated prefix finds at once what the first numbers miss."""
    rows = spread()
    data = stored(tmp_path, rows)
    settings = Settings(data_dir=data, model="none", dim=DIM, prefix_dim=PREFIX, _env_file=None)
    with at_work(create_app(settings)) as url, Client(url) as client:

        def answers(**how: Any) -> list[list[tuple[str, float]]]:
            found = client.search(vectors=rows[:20].tolist(), limit=10, **how)["results"]
            return [[(hit["id"], hit["score"]) for hit in hits] for hits in found]

        exact, short = answers(exact=True), answers(shortlist=20)
        assert funnel("adapt", "--url", url, "--pca").code == 0
        assert answers(exact=True) == exact
        assert short != exact
        assert answers(shortlist=20) == exact


def test_what_does_not_help_is_refused_unless_forced(funnel: Run, tmp_path: Path) -> None:
    """Where all directions are equal the numbers say so, and the code is 1; --force applies it."""
    data = stored(tmp_path, even())
    refused = funnel("adapt", "--data-dir", data, *QUICK)
    assert refused.code == 1
    assert "Not applied: at shortlist" in refused.out
    assert rotation_of(data) is None
    assert funnel("adapt", "--data-dir", data, "--pca", "--force").code == 0
    record = rotation_of(data)
    assert record is not None
    assert (record["method"], record["measured"]["helps"]) == ("pca", False)


def test_a_dry_run_changes_nothing(funnel: Run, data: Path) -> None:
    """As JSON, with an interval for everything that was measured."""
    report = json.loads(funnel("adapt", "--data-dir", data, "--dry-run", "--json", *QUICK).out)
    assert report["applied"] is None
    assert report["helps"]
    before, learned = (report["candidates"][name]["shortlist"]["0.95"] for name in ("before", "learned"))
    assert before["low"] <= before["value"] <= before["high"]
    assert learned["value"] < before["value"] / 2
    assert rotation_of(data) is None


def test_a_second_rotation_is_measured_against_the_first(funnel: Run, data: Path) -> None:
    """What is in force already cannot be improved upon: refused, and it stays."""
    assert funnel("adapt", "--data-dir", data, "--pca").code == 0
    first = rotation_of(data)
    again = funnel("adapt", "--data-dir", data, "--pca")
    assert (again.code, rotation_of(data)) == (1, first)


@pytest.mark.parametrize("when", ["learning", "applying"])
@pytest.mark.parametrize("rotated", [False, True])
def test_ctrl_c_changes_nothing(
    funnel: Run, data: Path, monkeypatch: pytest.MonkeyPatch, when: str, rotated: bool
) -> None:
    """Code 130, and what was in force is in force, even if the new rotation was applied before anybody noticed."""
    if rotated:
        assert funnel("adapt", "--data-dir", data, "--pca").code == 0
    before = rotation_of(data)

    @contextmanager
    def interrupted() -> Iterator[Any]:
        def report(what: str, done: int, total: int) -> None:
            if what == when:
                raise KeyboardInterrupt

        yield report

    monkeypatch.setattr(cli_adapting, "steps", interrupted)
    stopped = funnel("adapt", "--data-dir", data, "--force", "--steps", 2)
    assert (stopped.code, stopped.err) == (130, "stopped; the index is as it was\n")
    after = rotation_of(data)
    assert (after is None) == (before is None)
    assert after is None or before is None or after["method"] == before["method"] == "pca"


def test_too_few_documents_are_refused(funnel: Run, tmp_path: Path) -> None:
    """With both numbers."""
    refused = funnel("adapt", "--data-dir", stored(tmp_path, spread(50)))
    assert (refused.code, refused.err.splitlines()[-1]) == (
        1,
        "error: a rotation is learned from at least 1,000 documents, there are 50",
    )


@pytest.mark.parametrize("options", [["--undo", "--undo-pairs"], ["--pairs", "a", "--pca"]])
def test_options_that_exclude_each_other(funnel: Run, options: list[str]) -> None:
    """A wrong command line is told as such."""
    assert funnel("adapt", *options).code == 2


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service with a model that spreads 32 numbers over 96, and 1,200 documents of ten words."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{n}" for n in rng.integers(800, size=10)) for _ in range(1200)]
    settings = Settings(data_dir=tmp_path / "served", _env_file=None)
    with at_work(create_app(settings, SpreadEmbedder())) as address, Client(address) as client:
        client.ingest({"id": f"d{n}", "text": text} for n, text in enumerate(texts))
        yield address


def test_queries_of_a_file_are_measured(funnel: Run, url: str, tmp_path: Path) -> None:
    """A text a line; the table names the file."""
    file = tmp_path / "asked.txt"
    file.write_text("".join(f"word{n} word{n + 1}\n" for n in range(60)))
    report = json.loads(funnel("adapt", "--url", url, "--queries", file, "--dry-run", "--json", "--pca").out)
    assert report["queries"] == {"number": 60, "are": str(file)}
    assert report["documents"] == 1200


def test_a_file_of_few_queries_is_refused(funnel: Run, url: str, tmp_path: Path) -> None:
    """And a line without a text is named."""
    few = funnel("adapt", "--url", url, "--queries", jsonl(tmp_path / "few.jsonl", {"text": "a"}))
    assert "at least 20 different queries are needed to measure, it has 1" in few.err
    wrong = funnel("adapt", "--url", url, "--queries", jsonl(tmp_path / "wrong.jsonl", {"words": "a"}))
    assert "line 1: expected a text in 'text' or 'query', got words" in wrong.err

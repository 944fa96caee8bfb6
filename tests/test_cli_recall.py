"""`funnel recall`: it measures, calibrates, shows, draws, forgets, and changes nothing when it is stopped."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import client_blocking
from app.client import Client, RunEnded
from app.client_errors import ProblemError
from app.client_recall import followed
from cli_runner import Run, jsonl, runner, serving

COUNT = 600
WORDS = [f"word{n}" for n in range(200)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with 600 documents that have titles; every fourth is red."""
    rng = np.random.default_rng(0)
    with serving(tmp_path_factory.mktemp("recall")) as url, Client(url) as client:
        client.ingest(
            {
                "id": f"d{n}",
                "title": " ".join(rng.choice(WORDS, 3)),
                "text": " ".join(rng.choice(WORDS, 8)),
                "metadata": {"red": n % 4 == 0},
            }
            for n in range(COUNT)
        )
        yield url


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands."""
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture(autouse=True)
def _uncalibrated(url: str) -> Iterator[None]:
    """Each test begins without a calibration."""
    yield
    with Client(url) as client:
        client.forget_calibration()


def test_measure_calibrate_and_search_by_a_target(funnel: Run, url: str, tmp_path: Path) -> None:
    """A table, what targets take, whose queries they were; then a search says what its recall is thought to be."""
    asked = tmp_path / "asked.txt"
    asked.write_text("\n".join(f"{a} {b}" for a, b in zip(WORDS, reversed(WORDS), strict=True)))
    before = funnel("search", "word1 word2", "--target-recall", 0.95, "--url", url)
    assert "not calibrated" in before.out or "exact" in before.out
    shown = funnel("recall", "--queries", asked, "--shortlist", 30, "--shortlist", 90, "--url", url)
    assert shown.code == 0, shown.err
    assert "200 queries (queries given)" in shown.out
    assert "recall@10" in shown.out
    assert shown.out.count("target 0.9") == 4
    assert "Calibrated on 160 queries given, holds for queries like these" in shown.out
    found = funnel("search", "word1 word2", "--target-recall", 0.9, "--url", url)
    with Client(url) as client:
        known = client.stats()["calibration"]["id"]
    assert f"calibration {known}" in found.out or "exact" in found.out


def test_json_of_titles_with_a_filter(funnel: Run, url: str) -> None:
    """The answer of the service as it is; nothing is calibrated."""
    options = ("--source", "titles", "--sample", 50, "-k", 3, "--filter", '{"red": true}', "--no-calibrate")
    result = json.loads(funnel("recall", *options, "--json", "--url", url).out)
    assert (result["source"], result["queries"], result["k"]) == ("titles", 50, 3)
    assert result["filter"] == {"red": True}
    assert result["calibration"] is None
    means = [point["recall"]["mean"] for point in result["curve"] if len(point["stages"]) == 1]
    assert means == sorted(means)
    assert len(means) >= 3


def test_a_plot_is_drawn(funnel: Run, url: str, tmp_path: Path) -> None:
    """As the file's name says, and another kind of file is refused before any work."""
    options = ("recall", "--source", "documents", "--sample", 30, "--no-calibrate", "--url", url)
    assert funnel(*options, "--plot", tmp_path / "curve.svg").code == 0
    assert "recall@10" in (tmp_path / "curve.svg").read_text()
    refused = funnel(*options, "--plot", tmp_path / "curve.gif")
    assert (refused.code, refused.err) == (1, "error: a plot is a .png or .svg file, got 'curve.gif'\n")


def test_forget(funnel: Run, url: str) -> None:
    """There is one, and then none."""
    assert funnel("recall", "--source", "documents", "--sample", 130, "--shortlist", 30, "--url", url).code == 0
    assert "default shortlist" in funnel("recall", "--forget", "--url", url).out
    assert "none to forget" in funnel("recall", "--forget", "--url", url).out


def test_ctrl_c_cancels(funnel: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is given up, nothing was changed, and that is said."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client_blocking, "sleep", interrupted)
    stopped = funnel("recall", "--source", "documents", "--sample", 600, "--url", url)
    assert stopped.code == 130
    assert "the index is as it was" in stopped.err
    with Client(url) as client:
        assert client.recall_status()["state"] == "cancelled"
        assert client.stats()["calibration"] is None


def test_options_that_exclude_each_other(funnel: Run, url: str, tmp_path: Path) -> None:
    """Said before anything is asked of the service, or by it, with both numbers."""
    both = funnel("recall", "--queries", tmp_path / "none.txt", "--source", "titles", "--url", url)
    assert both.code == 2
    refused = funnel("recall", "--shortlist", 5, "--url", url)
    assert refused.code == 1
    assert "at least limit + offset = 10, got 5" in refused.err


def test_a_directory_is_measured_without_a_service(
    funnel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By vectors of its own documents where there is no model; the calibration stays with the directory."""
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    monkeypatch.setenv("FUNNEL_DIM", "16")
    monkeypatch.setenv("FUNNEL_PREFIX_DIM", "8")
    rows = np.random.default_rng(0).standard_normal((400, 16)) * np.where(np.arange(16) < 8, 2, 1)
    file = jsonl(tmp_path / "a.jsonl", *({"id": f"d{n}", "vector": row.tolist()} for n, row in enumerate(rows)))
    assert funnel("ingest", file, "--data-dir", "data").code == 0
    shown = funnel("recall", "--shortlist", 40, "--data-dir", "data")
    assert shown.code == 0, shown.err
    assert "stored documents" in shown.out
    assert "no guarantee" in shown.out
    stats = json.loads(funnel("stats", "--data-dir", "data", "--json").out)
    assert stats["calibration"]["in_force"]
    assert stats["calibration"]["source"] == "documents"


def test_a_run_that_ends_without_a_result_is_an_error() -> None:
    """Cancelled by others, failed, or followed by another run."""

    async def never() -> Any:
        raise AssertionError("there is nothing to cancel")

    async def at_once(_: float) -> None:
        return None

    begun = {"id": "a", "state": "running", "phase": "x", "done": 0, "total": 0}
    for state, told in (
        ({"id": "a", "state": "failed", "result": None, "error": "the reason"}, "failed: the reason"),
        ({"id": "a", "state": "cancelled", "result": None, "error": None}, "was cancelled"),
        ({"id": "b", "state": "running", "result": None, "error": None}, "followed by run b"),
    ):

        async def status(state: dict[str, Any] = state) -> dict[str, Any]:
            return state

        with pytest.raises(RunEnded, match=told):
            asyncio.run(followed(begun, status, never, None, at_once))


def test_bodies_are_checked(url: str) -> None:
    """Unknown fields, two sources, too few queries: each with what is wrong; the kinds of problems are stable."""
    with Client(url) as client:
        for body, told in (
            ({"shortlist": 10}, "unknown field"),
            ({"queries": ["x"] * 20, "source": "titles"}, "exclude each other"),
            ({"queries": ["x"]}, "at least 20"),
            ({"sample": 19}, "greater than or equal to 20, got 19"),
            ({"k": 0}, "greater than or equal to 1, got 0"),
            ({"k": 1_001}, "at most 1000, got 1001"),
            ({"vectors": [[1.0, 2.0]] * 20}, "32"),
            ({"filter": {"$bad": 1}}, "bad"),
        ):
            with pytest.raises(ProblemError, match=told) as caught:
                client.recall(**body)
            assert caught.value.status == 422
        assert client.recall_status()["state"] in ("none", "done", "cancelled")

"""The measuring scripts run at a smoke size on a small collection made here."""

import gzip
import json
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
TOPICS = ("bread", "bicycles", "volcanoes", "chess", "tax law", "penguins", "violins", "compilers")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one collection in BEIR's layout, of 64 texts and 8 judged queries."""
    folder = tmp_path / "data" / "topics"
    folder.mkdir(parents=True)
    texts = [f"Chapter {i} of a book about {TOPICS[i % 8]}, with more on {TOPICS[i % 8]}." for i in range(64)]
    rows = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)]
    write(folder / "corpus.jsonl.gz", rows)
    write(folder / "queries.jsonl.gz", [{"_id": f"q{i}", "text": topic} for i, topic in enumerate(TOPICS)])
    judged = "".join(f"q{i % 8}\td{i}\t1\n" for i in range(64))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return tmp_path / "data"


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


Run = Callable[..., dict[str, object]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a script in an empty folder and returns the results that it stored.

    As __main__ of this process, which has imported torch and transformers already: in one of its own they are most
    of the time.
    """
    monkeypatch.chdir(tmp_path)
    return partial(main, monkeypatch, tmp_path / "results.json")


def main(monkeypatch: pytest.MonkeyPatch, out: Path, script: str, *arguments: str) -> dict[str, object]:
    monkeypatch.setattr(sys, "argv", [script, *arguments, "--out", str(out)])
    try:
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    results: dict[str, object] = json.loads(out.read_text())
    assert results["command"]
    assert results["versions"]
    return results


def test_dimensions_are_evaluated(run: Run, tmp_path: Path, data: Path) -> None:
    """Results with their origin; a shortlist that covers the collection agrees with exact search; vectors are kept."""
    results = run("evaluate_dimensions.py", str(data / "topics"), "--no-baselines", "--widths", "64")
    model = results["collections"]["topics"]["models"]["bundled"]  # type: ignore[index]
    assert results["versions"]["ir-measures"]  # type: ignore[index]
    assert [row["width"] for row in model["widths"]] == [768, 64]
    assert model["funnel"][-1]["ndcg@10"] == model["exact"]["ndcg@10"]
    assert model["exact"]["ndcg@10"]["value"] > 0.9
    assert len(list((tmp_path / ".cache" / "vectors").rglob("topics-*.npy"))) == 2


@pytest.mark.long
def test_latency_is_measured(run: Run, tmp_path: Path, data: Path) -> None:
    """A real server is asked by vector and by text."""
    results = run("benchmark_latency.py", "--data", str(data), "--sizes", "60", "--queries", "8", "--warm-up", "2")
    (size,) = results["sizes"]  # type: ignore[misc]
    assert size["recall@10"] == 1.0
    assert size["text_in_ms"]["embed"]["p50"] > 0


@pytest.mark.long
def test_ingest_is_measured(run: Run, tmp_path: Path, data: Path) -> None:
    """The command line fills a real server, and a plain encode of the same texts is timed beside it."""
    corpus = str(data / "topics" / "corpus.jsonl.gz")
    results = run("benchmark_ingest.py", corpus, "--parts", "2", "--bare", "1")
    assert results["documents"] == 64
    assert results["ratio_to_bare_encode"]["mean"] > 0  # type: ignore[index]


def test_what_adapting_brings_is_measured(run: Run, tmp_path: Path) -> None:
    """On a raw model: shortlists with and without a rotation for documents and titles, and exact answers that stay."""
    folder = tmp_path / "data" / "topics"
    folder.mkdir(parents=True)
    rows = [
        {"_id": f"d{i}", "title": f"{TOPICS[i % 8]} {i}", "text": f"Chapter {i} of a book about {TOPICS[i % 8]}."}
        for i in range(60)
    ]
    write(folder / "corpus.jsonl.gz", rows)
    options = ("--models", "minilm", "--collection", "topics", "--queries", "20", "--steps", "2")
    results = run("evaluate_adapt.py", "--data", str(tmp_path / "data"), *options)
    found = results["models"]["minilm"]  # type: ignore[index, call-overload]
    assert found["applied"]["exact results and scores identical"]
    assert found["applied"]["identical after undo"]
    assert set(found["titles"]["candidates"]) == {"before", "pca", "learned"}
    assert 0 <= found["bounds"]["learned"]["64"] <= found["bounds"]["learned"]["256"] <= 1

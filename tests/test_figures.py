"""The pages of docs/ are made from stored results."""

import json
from pathlib import Path

import figures
import pytest

from app.evaluation import EvaluationSettings, Evaluator
from evaluation_cases import at_once, planted

ORIGIN = {
    "command": "./scripts/evaluate_dimensions.py x",
    "commit": "abc",
    "machine": "here",
    "versions": {"numpy": "2"},
}


def test_pages_of_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary goes to figures.md; each evaluation has a page with its origin, its plots in the right place."""
    monkeypatch.setattr(figures, "DOCS", tmp_path)
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    collection, subject = planted()
    evaluator = Evaluator([subject], [], EvaluationSettings((8, 4), (10,)), at_once)
    results = json.dumps({**ORIGIN, **evaluator.everything([collection])})
    (tmp_path / "results").mkdir()
    for name in ("evaluation", "evaluation-twins"):
        (tmp_path / "results" / f"{name}.json").write_text(results)
    figures.main()
    assert "| planted: exact 32 |" in (tmp_path / "figures.md").read_text()
    for name, plots in (("evaluation", "plots"), ("evaluation-twins", "plots/evaluation-twins")):
        page = (tmp_path / f"{name}.md").read_text()
        assert f"`docs/results/{name}.json`, made by `./scripts/evaluate_dimensions.py x` at commit abc" in page
        assert f"({plots}/topics-widths.svg)" in page
        assert (tmp_path / plots / "topics-widths.svg").is_file()
        assert "the information bottleneck is 8" in page

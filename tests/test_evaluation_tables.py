"""Tables and sentences of an evaluation, and the page that they make."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.evaluation import EvaluationSettings, Evaluator
from app.evaluation_report import write_folder
from app.evaluation_tables import by_width, described, funnel, models_of, overview, percent, summary, tables, verdict
from evaluation_cases import at_once, planted

SETTINGS = EvaluationSettings((16, 8, 4), (10, 20))


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """A small evaluation."""
    collection, subject = planted()
    return Evaluator([subject], [], SETTINGS, at_once).collection(collection)


def test_the_summary_has_a_line_for_each_way(result: dict[str, Any]) -> None:
    """Prefix, funnel, exact, BM25; what does not apply is empty."""
    table = summary(result)
    assert [row[0] for row in table.rows] == [
        "planted: first 8 alone",
        "planted: funnel, default shortlist (200)",
        "planted: exact 32",
        "BM25",
    ]
    columns = dict(zip(table.head, table.rows[-1], strict=True))
    assert columns["recall@10 of exact"] == columns["share of full nDCG@10"] == ""
    assert columns["nDCG@10"].startswith("1.000")


def test_a_width_that_was_not_trained_is_marked(result: dict[str, Any]) -> None:
    """With a star."""
    assert [row[0] for row in by_width("planted", result["models"]["planted"]).rows] == ["32", "16", "8", "4 *"]


def test_stages_are_shown_as_they_ran(result: dict[str, Any]) -> None:
    """Dimensions and what they kept."""
    assert funnel("planted", result["models"]["planted"]).rows[1][:2] == ("8 -> 32", "8:20 32:10")


def test_the_verdict_names_the_bottleneck(result: dict[str, Any]) -> None:
    """With the evidence; or says that nothing breaks."""
    model = result["models"]["planted"]
    assert verdict("planted", model).startswith("planted: the information bottleneck is 8. At 4 quality breaks: ")
    whole = {**model, "bottleneck": {"width": 4, "breaks": None, "wanted": 0.5}}
    assert verdict("planted", whole) == (
        "planted: quality breaks at no width; at 4 it may still be 50 % of the full one."
    )


def test_what_was_left_out_is_said(result: dict[str, Any]) -> None:
    """After the counts."""
    assert described(result) == "60 documents, 60 queries (judged)"
    assert described({**result, "left_out": ["2 untitled"]}).endswith("; left out: 2 untitled")
    assert described({"pairs": 1379}) == "1,379 scored pairs"


def test_the_folder_has_page_numbers_and_plots(result: dict[str, Any], tmp_path: Path) -> None:
    """Every plot that the page shows is there, and every table."""
    results = {"settings": SETTINGS.to_json(), "collections": {"topics": result}, "similarity": {}}
    write_folder(tmp_path / "report", results)
    page = (tmp_path / "report" / "evaluation.md").read_text()
    shown = [line.split("(")[1].removesuffix(")") for line in page.splitlines() if line.startswith("![")]
    assert shown == ["plots/topics-widths.svg", "plots/topics-funnel.svg"]
    assert all((tmp_path / "report" / plot).is_file() for plot in shown)
    for table, _ in tables(result):
        assert f"**{table.title}**" in page
        assert "| " + " | ".join(table.rows[0]) + " |" in page
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text()) == results


def test_the_overview_has_a_line_for_each_collection(result: dict[str, Any]) -> None:
    """Shares by width, of the default funnel, and the bottleneck; scored pairs have no funnel."""
    pairs = {"pairs": 9, "models": {"planted": {**result["models"]["planted"]}}, "baselines": {}}
    del pairs["models"]["planted"]["default"]  # type: ignore[attr-defined]
    results = {"collections": {"topics": result}, "similarity": {"pairs": pairs}}
    assert models_of(results) == ["planted"]
    table = overview(results, "planted")
    assert table.head == ("", "full", "16", "8", "4", "funnel", "bottleneck")
    topics, similar = table.rows
    assert (topics[0], topics[3], topics[5:]) == ("topics", "100.0 %", ("100.0 %", "8"))
    assert similar[5] == ""


def test_percent() -> None:
    """One digit, or none; nothing for nothing."""
    assert (percent(0.9836), percent(0.95, 0), percent(None)) == ("98.4 %", "95 %", "")

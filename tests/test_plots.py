"""Plots: real files, the same bytes for the same results, a line for every model."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from app.evaluation import EvaluationSettings, Evaluator
from app.plots import COLOURS, MARKERS, funnel_figure, widths_figure, write_plots
from evaluation_cases import at_once, planted

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """A small evaluation with a baseline."""
    collection, subject = planted()
    other = replace(subject, name="other", key="other")
    settings = EvaluationSettings((16, 8, 4), (10, 20))
    return Evaluator([subject], [other], settings, at_once).collection(collection)


def test_both_kinds_are_written(result: dict[str, Any], tmp_path: Path) -> None:
    """A PNG that is one, and an SVG that parses, with words in it."""
    assert write_plots(tmp_path, "topics", result) == ["topics-widths", "topics-funnel"]
    for name in ("topics-widths", "topics-funnel"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)
        root = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        assert "topics" in "".join(root.itertext())


def test_the_same_results_give_the_same_bytes(result: dict[str, Any], tmp_path: Path) -> None:
    """No dates, no random ids: a page in a repository changes only with its numbers."""
    for folder in ("one", "two"):
        write_plots(tmp_path / folder, "topics", result)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_what_the_lines_show(result: dict[str, Any]) -> None:
    """Each model's values at its widths; BM25 as a level; the funnel's recall by shortlist, a line a plan."""
    left, right = widths_figure("topics", result).axes
    lines = {line.get_label(): line for line in left.get_lines()}
    assert set(lines) == {"planted", "other", "BM25"}
    curve = result["models"]["planted"]["widths"]
    assert lines["planted"].get_xdata().tolist() == [row["width"] for row in curve]
    assert lines["planted"].get_ydata().tolist() == [row["ndcg@10"]["value"] for row in curve]
    assert right.get_ylabel() == "share of full nDCG@10"
    recall, _ = funnel_figure("topics", result).axes
    assert [line.get_label() for line in recall.get_lines()] == ["planted: 8 -> 32"]
    assert recall.get_lines()[0].get_xdata().tolist() == [10, 20]


def test_a_value_that_is_no_number_is_left_out(result: dict[str, Any], tmp_path: Path) -> None:
    """Where nothing is found there is no share to draw."""
    nothing = {"value": None, "low": None, "high": None}
    model = result["models"]["planted"]
    rows = [{**row, "share": nothing} for row in model["widths"]]
    changed = {**result, "models": {"planted": {**model, "widths": rows, "funnel": []}}}
    assert write_plots(tmp_path, "topics", changed) == ["topics-widths"]


def test_lines_stay_apart() -> None:
    """As many markers as colours, none twice."""
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(COLOURS) == len(MARKERS)

"""The measuring of the twin experiment: Spearman by width against scipy, intervals, and the page it writes."""

from pathlib import Path
from typing import Any

import evaluate_twins
import numpy as np
import pytest
import twins_page
from scipy.stats import spearmanr

from app.similarity import ScoredPairs
from index.matryoshka import prefixes

WIDTHS = (16, 8)


class Table:
    """Stands for a model: random vectors that stay the same."""

    def __init__(self, seed: int) -> None:
        self.rows = np.random.default_rng(seed).standard_normal((40, 16)).astype(np.float32)

    def encode(self, texts: list[str], **options: Any) -> np.ndarray:
        """(n, 16): the row that each text names, of unit length."""
        return prefixes(self.rows[[int(text) for text in texts]], 16)


def pairs() -> ScoredPairs:
    """Forty pairs with scores from 0 to 5."""
    first, second = [str(row) for row in range(40)], [str(39 - row) for row in range(40)]
    return ScoredPairs(first, second, np.random.default_rng(7).integers(6, size=40).astype(float))


def test_correlations_are_those_of_scipy() -> None:
    """The first column is that of all pairs, at every width; the others are of samples with repetition."""
    measured = evaluate_twins.correlations(Table(0), pairs(), WIDTHS)  # type: ignore[arg-type]
    assert measured.shape == (2, 1 + evaluate_twins.SAMPLES)
    model, known = Table(0), pairs()
    first, second = model.encode(known.first), model.encode(known.second)
    for width, row in zip(WIDTHS, measured, strict=True):
        cosines = (prefixes(first, width) * prefixes(second, width)).sum(axis=1)
        assert row[0] == pytest.approx(spearmanr(cosines, known.scores).statistic, abs=1e-5)


def test_a_model_against_itself_differs_by_nothing() -> None:
    """The same samples for both sides: the interval of the difference is a point."""
    measured = evaluate_twins.correlations(Table(0), pairs(), WIDTHS)  # type: ignore[arg-type]
    same = evaluate_twins.difference([measured], [measured], WIDTHS)
    assert same[8]["spearman"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    rows = evaluate_twins.curve([measured], WIDTHS)["widths"]
    assert rows[16]["share"]["value"] == 1.0
    assert rows[8]["spearman"]["low"] < rows[8]["spearman"]["value"] < rows[8]["spearman"]["high"]


def test_the_page_tells_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables, verdict and plots, from results as they are read back from JSON."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    widths = (128, 64)
    one = {"value": 0.8, "low": 0.7, "high": 0.9}
    rows = {str(width): {"spearman": one, "share": one | {"value": 0.98}} for width in widths}
    gap = {str(width): {"spearman": one, "share": {"value": 0.02, "low": 0.01, "high": 0.03}} for width in widths}
    told = {"base": "B", "layers": 3, "head_only": False, "epochs": 1, "batch": 32, "learning_rate": 5e-5, "seeds": [0]}
    models = {name: {"widths": rows} for name in ("base", "none", "matryoshka")}
    layers = {"2d": {"2": {"128": 0.5, "64": 0.4}}}
    result = {"experiment": told, "widths": widths, "models": models, "difference": gap, "layers": layers}
    twins_page.write_page({"x": {**result, "command": "./run", "commit": "abc", "machine": "M"}})
    page = (tmp_path / "docs" / "twins.md").read_text()
    assert "more (+2.00 [+1.00, +3.00])" in page
    assert "| 2D Matryoshka | 2 | 0.5000 | 0.4000 |" in page
    assert (tmp_path / "docs" / "plots" / "twins-x.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "docs" / "plots" / "twins-x.svg").read_text()

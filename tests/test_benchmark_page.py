"""docs/performance.md is made of stored results, and says what was left out."""

import json
from pathlib import Path
from typing import Any

import benchmark_page
import pytest
from benchmark_growth import crossover
from benchmark_page import BEGIN, END
from benchmark_tables import compared

ROOT = Path(__file__).parent.parent


def setting(recall: float, milliseconds: list[float], **given: int) -> dict[str, Any]:
    return {
        "setting": given, "recall": recall, "medians_ms": milliseconds, "p50_ms": milliseconds[0],
        "p99_ms": 9.5, "throughput": [500.0, 500.0, 500.0],
        "mean_ms": 1.5, "stages_ms": {"shortlist": 0.25, "rerank": 0.5, "documents": 0.125},
        "repeated": True, "waited_share": 0.2,
    }  # fmt: skip


def system(name: str, mode: str, factor: float) -> dict[str, Any]:
    slow, default = [2 * factor, 2 * factor, 4 * factor], [1.2 * factor] * 3
    asked = [setting(0.9, [factor] * 3, ef=1), setting(0.95, default), setting(0.999, slow, ef=2)]
    cold = {"open_seconds": 1.0, "first_ms": 2.0, "p50_ms": 3.0, "p99_ms": 4.0, "read_bytes_per_search": 5_000}
    return {
        "name": name, "mode": mode, "kind": "library", "settings": {"10": asked}, "build": {"seconds": 3.0},
        "memory": {"anonymous": 7_000_000, "file": 9_000_000}, "disk_bytes": 11_000_000, "cold": cold,
        "versions": {"peer": "7"},
    }  # fmt: skip


def results(rows: int, factor: float) -> dict[str, Any]:
    """The graph takes `factor` times as long as the funnel."""
    failed = {"name": "broken", "mode": "plain", "kind": "library", "failed": "building: no room", "settings": {}}
    made = {
        "collection": {"name": "clusters", "rows": rows, "dim": 256, "prefix_energy": 0.5},
        "plan": {"ks": [10], "rounds": 3, "per_round": 50, "threads": 2}, "memory_cap": None,
        "systems": [system("funnel", "two-stage", 1.0), system("graph", "plain", factor), failed],
        "left_out": {"other": "no package"},
        "command": "./scripts/benchmark.py x", "commit": "abc", "machine": "here", "versions": {"numpy": "2"},
    }  # fmt: skip
    return made | {"compared": compared(made)}


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people wrote stays; tables, plots, failures, reasons and origin stand between the marks, also again."""
    monkeypatch.setattr(benchmark_page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(benchmark_page, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmark_page, "PLOTS", tmp_path / "plots")
    for rows, factor in ((1_000, 0.5), (100_000, 2.0)):
        (tmp_path / f"benchmark-{rows}.json").write_text(json.dumps(results(rows, factor)))
    (tmp_path / "performance.md").write_text(f"# before\n{BEGIN}\nold\n{END}\nafter\n")
    benchmark_page.write()
    once = (tmp_path / "performance.md").read_text()
    benchmark_page.write()
    assert (tmp_path / "performance.md").read_text() == once
    assert once.startswith("# before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert "### clusters (synthetic): 1,000 rows of 256" in once
    assert "2.00 (2.00-2.00) | 9.500 | 500, 1.00 of ours |" in once
    assert "Not measured: `broken`: building: no room." in once
    assert "Left out: other (no package)." in once
    assert "up to 20% of a measurement was spent waiting" in once
    assert "| clusters, 1,000 | 0.9500 | 1.200 | 1.500 | 0.250 | 0.500 | 0.125 | 0.625 |" in once
    assert "; here; numpy 2, peer 7." in once
    assert "| graph | 1.00 | 2.00 | 3.00 | 4.00 | 5 |" in once
    assert "the fastest plain peer are equal at about 10,000 rows" in once
    assert (tmp_path / "plots/benchmark-1000-k10.svg").is_file()


def test_the_page_needs_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without them is left as it is."""
    monkeypatch.setattr(benchmark_page, "PAGE", tmp_path / "performance.md")
    (tmp_path / "performance.md").write_text("# mine")
    with pytest.raises(ValueError, match="must have each of its marks once"):
        benchmark_page.write()


def test_crossover() -> None:
    """Where the ratio passes 1 for the last time; none where it never does, or is below 1 at the end."""
    assert crossover({100: 0.5, 10_000: 2.0}) == pytest.approx(1_000)
    assert crossover({100: 2.0, 1_000: 0.5, 100_000: 2.0}) == pytest.approx(10_000)
    assert crossover({100: 1.5, 1_000: 2.0}) is None
    assert crossover({100: 2.0, 1_000: 0.5}) is None
    assert crossover({100: 2.0}) is None


def test_the_stored_page_has_its_marks() -> None:
    """docs/performance.md can be written."""
    text = (ROOT / "docs/performance.md").read_text()
    assert (text.count(BEGIN), text.count(END)) == (1, 1)

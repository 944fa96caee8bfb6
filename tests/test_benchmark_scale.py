"""scripts/benchmark_scale.py: the exact rows it compares with, what a new process finds, and its part of the page."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_scale import K, Rows, grown
from benchmark_scale_page import at, scale, stored


def test_best_rows() -> None:
    """They are those of one product over all blocks."""
    rows = Rows(None, 5)
    blocks = np.concatenate([rows.block(size) for size in (300, 17, 200)])
    best = np.argsort(-(rows.queries @ blocks.T), axis=1)[:, :K]
    np.testing.assert_array_equal(np.sort(rows.best, axis=1), np.sort(best, axis=1))


def test_growing(tmp_path: Path) -> None:
    """Every size is written, opened by a process of its own and searched; the page tells of each."""
    given = {"sizes": [300, 1_400], "storage": "float32", "index": "packed", "prefix_dim": 64, "shortlists": [20, 300]}
    found = list(grown(Rows(None, 10), tmp_path / "store", argparse.Namespace(**given, memory_cap=None)))
    assert [one["written"] for one in found] == [300, 1_100]
    assert found[1]["free"]["shortlist"]["older_rows"] > 0
    assert found[1]["free"]["memory"]["file"] > 0
    for one in found:
        short, long = one["free"]["settings"]
        assert short["recall"] <= long["recall"] == 1.0 or long["recall"] > 0.95
        assert long["p99_ms"] >= long["p50_ms"] > 0
        assert long["searches_a_second"] > 0
    told: dict[str, Any] = {**given, "collection": "clusters", "dim": 256, "k": K, "queries": 10, "sizes": found}
    told |= {
        "command": "./scripts/benchmark_scale.py x",
        "commit": "abc",
        "machine": "here",
        "versions": {"numpy": "2"},
    }
    found[-1]["capped"] = {"cap_bytes": 5_000_000, "failed": "its memory is not enough"}
    (tmp_path / "scale-small.json").write_text(json.dumps(told))
    page = "\n".join(scale(stored(tmp_path), tmp_path / "plots"))
    assert "### From 300 to 1,400 rows: packed over 64 dimensions, full vectors as float32" in page
    assert "| 1,400 | its memory is not enough |" in page
    assert (tmp_path / "plots/scale-small.svg").is_file()


def test_at_equal_recall() -> None:
    """Half way in the logarithm of what is missed; the nearest above where nothing is below; None where none is."""
    settings = [
        {"shortlist": 1, "recall": 0.9, "p50_ms": 1.0, "stages_ms": {"rerank": 0.5}},
        {"shortlist": 2, "recall": 0.975, "p50_ms": 4.0, "stages_ms": {"rerank": 0.5}},
    ]
    assert at(settings, "p50_ms") == pytest.approx(2.5)
    assert at(settings, "rerank") == 0.5
    assert at(settings[1:], "p50_ms") == 4.0
    assert at(settings[:1], "p50_ms") is None

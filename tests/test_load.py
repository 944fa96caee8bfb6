"""The load test: short, to see that it works, and for ten minutes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(out: Path, *arguments: str) -> dict[str, Any]:
    """What the script found."""
    command = [sys.executable, "scripts/load_test.py", *arguments, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, Any] = json.loads(out.read_text())
    return results


def test_a_short_load(tmp_path: Path) -> None:
    """Beyond its capacity the server refuses with 503 and Retry-After, goes on answering, and leaves nothing open."""
    results = load(tmp_path / "load.json", "--seconds", "7", "--documents", "1500")
    quiet, *_, overload = results["levels"]
    assert quiet["accepted_per_second"] > 0
    assert overload["accepted_per_second"] > 0
    assert overload["offered_per_second"] == pytest.approx(8 * quiet["offered_per_second"], abs=1)
    for promise in ("nothing_but_503_is_refused_with", "every_503_has_retry_after", "no_file_is_left_open"):
        assert results["kept"][promise], results


@pytest.mark.long
def test_ten_minutes_of_load(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Bounded latency of what is accepted, flat memory, no leak, and searches that an ingest hardly slows."""
    results = load(tmp_path / "load.json", "--seconds", "600")
    record_property("requests", sum(level["requests"] for level in results["levels"]))
    record_property("p99_ms_at_4_times_the_capacity", results["levels"][-1]["accepted_ms"]["p99"])
    record_property("p99_ratio_beside_an_ingest", results["searches_beside_an_ingest"]["p99_ratio"])
    record_property("anonymous_mib", results["server"]["at_rest"]["anonymous_mib"])
    assert all(results["kept"].values()), results["kept"]

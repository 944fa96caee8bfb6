"""The measurement of a cold start."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_a_start_is_measured(tmp_path: Path) -> None:
    """A small directory is made once, started cold, and timed step by step."""
    out = tmp_path / "start.json"
    command = [sys.executable, "scripts/benchmark_start.py", "--documents", "1200", "--dim", "32", "--repeat", "1"]
    command += ["--cache", str(tmp_path / "cache"), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(out.read_text())
    (start,) = results["starts"]
    assert 0 < start["ready_seconds"] <= start["first_answers_seconds"] == results["slowest_seconds"]
    assert {"imports", "live rows read", "graph loaded", "first search"} <= start["steps"].keys()
    assert (tmp_path / "cache" / "1200-32" / "complete").exists()

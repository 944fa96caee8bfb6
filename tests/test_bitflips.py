"""Damage anywhere in a directory is refused, mended or named, and no answer is wrong in silence."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bitflip_test import FAILED, failed, table

ROOT = Path(__file__).resolve().parent.parent
QUICK, LONG = 14, 2_000


def campaign(cases: int, out: Path, *options: str) -> list[dict[str, Any]]:
    """The records of the script, in a process that has no threads when it forks."""
    command = [sys.executable, str(ROOT / "scripts" / "bitflip_test.py"), "--cases", str(cases), "--records", str(out)]
    command += options
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert out.exists(), done.stderr
    records: list[dict[str, Any]] = json.loads(out.read_text())
    assert (done.returncode == 0) == (not any(map(failed, records)))
    return records


def test_a_few_damaged_files(tmp_path: Path) -> None:
    """Those of the first seeds, of all kinds of files; each is opened, asked, verified and repaired."""
    records = campaign(QUICK, tmp_path / "records.json")
    assert [record for record in records if failed(record)] == []
    assert len({record["file"] for record in records}) >= 5
    assert sum(record["outcome"].startswith("refused") for record in records) >= 3


@pytest.mark.long
def test_thousands_of_damaged_files(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Counted by file and outcome; FUNNEL_CASES says how many."""
    records = campaign(int(os.environ.get("FUNNEL_CASES", LONG)), tmp_path / "records.json")
    for outcome, count in Counter(record["outcome"] for record in records).items():
        record_property(outcome, count)
    print(table(records))
    assert [record for record in records if failed(record)] == []


@pytest.mark.long
@pytest.mark.parametrize("check", ["vectors", "documents", "log"])
def test_a_check_that_is_taken_away_is_missed(check: str, tmp_path: Path) -> None:
    """The harness sees wrong answers then."""
    records = campaign(80, tmp_path / "records.json", "--plant", check, "--only", check)
    assert any(record["outcome"] in ("wrong", "missed", "traceback") for record in records if failed(record))


def test_the_counting_can_fail() -> None:
    """Whatever is a defect makes a case fail."""
    sound = {"outcome": "right", "verify": "found", "repair": "mended"}
    assert not failed(sound)
    for word in FAILED:
        assert any(failed({**sound, part: word}) for part in sound)

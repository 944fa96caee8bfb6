"""Law 4: what was acknowledged survives SIGKILL of the real server, and nothing is half there."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "crash_test.py"


def campaign(out: Path, *arguments: str) -> dict[str, int]:
    """Run the campaign and return its counts."""
    done = subprocess.run([sys.executable, SCRIPT, *arguments, "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts: dict[str, int] = json.loads(out.read_text())
    return counts


def test_acknowledged_writes_survive_kills(tmp_path: Path) -> None:
    """Four kills under concurrent writers lose nothing; the long tests kill more often, and with the real model."""
    counts = campaign(tmp_path / "crash.json", "--kills", "4", "--seed", "11")
    assert counts["kills"] == 4
    assert counts["acknowledged_changes"] > 100


@pytest.mark.long
@pytest.mark.parametrize(("model", "kills"), [("none", "60"), ("bundled", "20")])
def test_many_kills(tmp_path: Path, model: str, kills: str, record_property: Callable[[str, object], None]) -> None:
    """Nothing acknowledged is lost in many kills, with vectors that are sent and with vectors that are made."""
    counts = campaign(tmp_path / "crash.json", "--kills", kills, "--seed", "3", "--model", model)
    for name in ("kills", "acknowledged_changes", "documents_at_the_end"):
        record_property(name, counts[name])
    assert counts["kills"] == int(kills)


@pytest.mark.long
def test_many_kills_under_rotations(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """The same while rotations are applied and undone: the last one acknowledged is in force, or the one under way."""
    counts = campaign(tmp_path / "crash.json", "--kills", "60", "--seed", "5", "--rotate")
    for name in ("kills", "acknowledged_changes", "acknowledged_rotations", "documents_at_the_end"):
        record_property(name, counts[name])
    assert counts["kills"] == 60
    assert counts["acknowledged_rotations"] >= 10  # a graph of all rows each: few are done before the kill

"""Law 4: what was acknowledged survives SIGKILL of the real server, and nothing is half there."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "crash_test.py"


def test_acknowledged_writes_survive_kills(tmp_path: Path) -> None:
    """Four kills under concurrent writers lose nothing; the long lane and the results in docs/ hold many more."""
    out = tmp_path / "crash.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "4", "--seed", "11", "--out", out], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(out.read_text())
    assert counts["kills"] == 4
    assert counts["acknowledged_changes"] > 100

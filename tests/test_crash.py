"""Law 4: what was acknowledged survives SIGKILL of the real server, and nothing is half there."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash_known import GONE, Known, Lost, metadata_of, state_of, text_of
from planted import SHOWN_BY_KILLS

SCRIPT = Path(__file__).parent.parent / "scripts" / "crash_test.py"
Record = Callable[[str, object], None]


def campaign(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the crash test to its end."""
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def survived(out: Path, *arguments: str) -> dict[str, Any]:
    """The counts of a campaign that lost nothing."""
    done = campaign(*arguments, "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    counts: dict[str, Any] = json.loads(out.read_text())
    return counts


def test_acknowledged_writes_survive_kills(tmp_path: Path) -> None:
    """Five kills with all kinds of clients lose nothing; the long tests kill more often, and with the real model."""
    counts = survived(tmp_path / "crash.json", "--kills", "5", "--seed", "11")
    assert counts["kills"] >= 5
    assert counts["acknowledged_changes"] > 100
    assert counts["answers_checked"] > 5


def test_a_dropped_tombstone_is_caught(tmp_path: Path) -> None:
    """A deletion that reaches memory alone now and then ends the campaign, with what is needed to run it again."""
    kept = tmp_path / "kept"
    planted = ("--plant", "drop-tombstone", "--upkeep", "")
    done = campaign("--kills", "100", "--seed", "1", *planted, "--keep", str(kept))
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout.replace("\n", " ")
    assert "LOST with seed 1 in round" in said
    number = said.split("in round ")[1].split(":")[0]
    assert f"--replay {kept}/1/before-{number} 1 {number}" in said
    assert (kept / "1" / f"before-{number}" / "known.json").exists()


def test_defects_can_be_planted(tmp_path: Path) -> None:
    """The product still has what each of them changes; skip-fsync reaches SQLite's connections, too."""
    child = """
import sys; sys.path.insert(0, "scripts")
import planted
from index.space import Space
from index.store import Store
for name in ("none", *planted.PLANTED):
    if name != "none":
        planted.plant(name)
    with Store.open(sys.argv[1], Space(4, 2, {"model": "test"})) as store:
        print(name, store._documents._writer.execute("PRAGMA synchronous").fetchone()[0])
"""
    command, root = [sys.executable, "-c", child, tmp_path / "data"], SCRIPT.parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stderr == ""
    levels = dict(line.split() for line in done.stdout.splitlines())
    assert levels == dict.fromkeys(["none", *SHOWN_BY_KILLS], "2") | {"skip-fsync": "0"}


@pytest.mark.long
@pytest.mark.parametrize("defect", SHOWN_BY_KILLS)
def test_planted_defects_are_caught(defect: str, tmp_path: Path, record_property: Record) -> None:
    """Each defect that a kill can show ends a campaign within a few dozen of them."""
    done = campaign("--kills", "60", "--seed", "1", "--plant", defect, "--keep", str(tmp_path / "kept"))
    assert done.returncode == 1, done.stdout + done.stderr
    record_property("kills_until_caught", json.loads(done.stdout[: done.stdout.index("}\n") + 1])["kills"])
    record_property("message", done.stdout.split("LOST with ")[1].replace("\n", " ")[:200])


@pytest.mark.long
@pytest.mark.parametrize(("model", "kills", "jobs"), [("none", "1000", "2"), ("bundled", "20", "1")])
def test_many_kills(tmp_path: Path, model: str, kills: str, jobs: str, record_property: Record) -> None:
    """Nothing is lost in a thousand kills (or FUNNEL_KILLS), and in twenty with vectors that the model makes."""
    kills = os.environ.get("FUNNEL_KILLS", kills) if model == "none" else kills
    counts = survived(tmp_path / "crash.json", "--kills", kills, "--seed", "3", "--model", model, "--jobs", jobs)
    for name, value in counts.items():
        if isinstance(value, int | float):
            record_property(name, value)
    assert counts["kills"] >= int(kills)


def test_what_is_known() -> None:
    """One state after an answer, both while a write is open; what is all or nothing is not to be half there."""
    known = Known()
    known.begin({"w0-1": (1, 1), "w0-2": (2, 2)}, whole=True)
    assert known.possible("w0-1") == {GONE, (1, 1)}
    for found in ({}, {"w0-1": (1, 1), "w0-2": (2, 2)}):
        Known(dict(known.states), list(known.whole)).settle(found)
    with pytest.raises(Lost, match="half there: 1 of 2"):
        Known(dict(known.states), list(known.whole)).settle({"w0-1": (1, 1)})
    known.acknowledge({"w0-1": (1, 1), "w0-2": (2, 2)})
    for found in ({"w0-1": (1, 1)}, {"w0-1": (1, 1), "w0-2": (2, 9)}, {"w0-1": (1, 1), "w0-2": (2, 2), "x": (3, 3)}):
        with pytest.raises(Lost):
            known.settle(found)


def test_what_an_answer_may_tell() -> None:
    """What was possible when a question was sent, and what was sent since; not what had been replaced before."""
    known = Known()
    known.acknowledge({"w0-1": (1, 1)})
    known.acknowledge({"w0-1": (2, 2)})
    moment = known.moment()
    known.begin({"w0-1": (3, 3)})
    known.acknowledge({"w0-1": (3, 3)})
    assert known.since(moment, ["w0-1", "w0-2"]) == {"w0-1": {(2, 2), (3, 3)}, "w0-2": {GONE}}


def test_what_is_known_is_kept(tmp_path: Path) -> None:
    """A later run knows the same."""
    known = Known()
    known.begin({"w0-1": (1, 1), "w0-2": GONE}, whole=True)
    known.snapshots["s"] = known.since(known.moment())
    known.save(tmp_path / "known.json")
    again = Known.load(tmp_path / "known.json")
    assert (again.states, again.whole, again.snapshots) == (known.states, known.whole, known.snapshots)


def test_parts_of_a_document_agree() -> None:
    """Text and metadata are of one version."""
    document = {"id": "w1-7", "text": text_of("w1-7", 5), "metadata": metadata_of("w1-7", (5, 6))}
    assert state_of(document) == (5, 6)
    for half in ({"text": text_of("w1-7", 4)}, {"metadata": metadata_of("w1-7", (5, 6)) | {"shard": 3}}):
        with pytest.raises(Lost):
            state_of(document | half)

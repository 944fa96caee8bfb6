#!/usr/bin/env python3
"""Run the tests marked `long` and store what came out, with commit and command, in docs/results/.

./scripts/test --long [pytest arguments]
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
NOTHING_COLLECTED = 5  # pytest's exit status
NOT_HELD = (
    "the quick suite (./scripts/test)",
    "load for an hour, and hostile clients at full size: scripts/load_test.py and hostile_test.py are run by hand",
    "integrations: no container is run",
    "models from a hub: nothing is downloaded",
)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def context(arguments: list[str]) -> dict[str, Any]:
    """Where, when and how this ran: what a reader needs to run it again."""
    return {
        "command": shlex.join(["./scripts/test", "--long", *arguments]),
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain", "--untracked-files=no")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }


def outcome(case: ElementTree.Element) -> tuple[str, str]:
    """("passed" | "failed" | "skipped", reason)."""
    for child in case:
        if child.tag in ("failure", "error"):
            return "failed", child.get("message", "")
        if child.tag == "skipped":
            return "skipped", child.get("message", "")
    return "passed", ""


def test_results(report: Path) -> list[dict[str, Any]]:
    """One entry per test of a JUnit report, with what it recorded through `record_property`."""
    results = []
    for case in ElementTree.parse(report).iter("testcase"):
        status, reason = outcome(case)
        figures = {p.get("name"): p.get("value") for p in case.iter("property")}
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        seconds = round(float(case.get("time", 0)), 1)
        results.append({"test": name, "status": status, "seconds": seconds, "reason": reason, "figures": figures})
    return results


def table(run: dict[str, Any], results: list[dict[str, Any]]) -> str:
    """The same as Markdown."""
    lines = ["# Long tests", "", *(f"- {key}: `{value}`" for key, value in run.items()), ""]
    lines += ["| test | status | seconds | figures or reason |", "|---|---|---:|---|"]
    for r in results:
        figures = ", ".join(f"{key} {value}" for key, value in r["figures"].items()) or r["reason"].replace("\n", " ")
        lines.append(f"| `{r['test']}` | {r['status']} | {r['seconds']} | {figures} |")
    lines += ["", "Left out:", "", *(f"- {what}" for what in left_out(results))]
    return "\n".join(lines) + "\n"


def store(arguments: list[str], results: list[dict[str, Any]]) -> None:
    """Write long-tests.json and long-tests.md."""
    run = context(arguments)
    encoded = json.dumps({**run, "results": results, "left_out": left_out(results)}, indent=1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "long-tests.json").write_text(encoded + "\n", "utf-8")
    (RESULTS / "long-tests.md").write_text(table(run, results), "utf-8")
    counts = dict(Counter(r["status"] for r in results))
    print(f"\nstored in {RESULTS.relative_to(ROOT)}/long-tests.json and .md: {counts}")


def left_out(results: list[dict[str, Any]]) -> list[str]:
    """The kinds of campaigns that there are none of, and the tests that were skipped."""
    skipped = [f"{r['test']}: {r['reason']}" for r in results if r["status"] == "skipped"]
    return [*NOT_HELD, *skipped]


def main() -> int:
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "long", f"--junitxml={report}", *arguments]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status == NOTHING_COLLECTED:
            print("no such test is marked `long`: nothing was run and nothing stored")
            return 0
        results = test_results(report) if report.exists() else []
    if results:
        store(arguments, results)
    for what in left_out(results):
        print(f"left out: {what}")
    return status


if __name__ == "__main__":
    sys.exit(main())

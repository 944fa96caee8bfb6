"""scripts/long_tests.py: what it stores about a run."""

import json
from pathlib import Path

import long_tests
import pytest

REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_one" time="1.23">
<properties><property name="docs" value="7"/></properties>
</testcase>
<testcase classname="tests.test_a" name="test_two" time="0"><skipped message="needs a GPU"/></testcase>
</testsuite></testsuites>"""


def test_results_are_stored_with_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files name the figures, the kinds of campaigns that are missing, and the skipped tests with their reason."""
    monkeypatch.setattr(long_tests, "ROOT", tmp_path)
    monkeypatch.setattr(long_tests, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(long_tests, "git", lambda *_: "")
    (tmp_path / "report.xml").write_text(REPORT)
    results = long_tests.test_results(tmp_path / "report.xml")
    long_tests.store(["-x"], results)
    stored = json.loads((tmp_path / "results/long-tests.json").read_text())
    assert stored["command"] == "./scripts/test --long -x"
    assert [r["figures"] for r in stored["results"]] == [{"docs": "7"}, {}]
    page = (tmp_path / "results/long-tests.md").read_text()
    for what in ("load for an hour", "integrations", "tests/test_a.py::test_two: needs a GPU"):
        assert any(what in line for line in stored["left_out"])
        assert f"- {what}" in page

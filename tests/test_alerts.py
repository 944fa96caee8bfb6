"""The alerts, evaluated by Prometheus's own promtool: each is silent when all is well, and fires when it should."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ALERTS = Path(__file__).parent.parent / "deploy" / "prometheus" / "alerts.yml"
RULES = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]}
PROMTOOL = shutil.which("promtool")
STEPS = 100  # of a minute
SCRUB = "funnel_last_scrub_time_seconds{"
STAGE, FSYNC = 'funnel_search_stage_seconds_bucket{stage="total",', 'funnel_fsync_seconds_bucket{file="vectors",'
# Series of a service in good health: value and what is added to it each minute.
WELL = {
    "up{": "1+0",
    "funnel_read_only{": "0+0",
    "funnel_damaged_rows{": "0+0",
    'funnel_http_requests_total{status="200",': "0+6000",
    'funnel_http_requests_total{status="500",': "0+1",
    'funnel_http_requests_total{status="503",': "0+10",
    'funnel_http_refused_total{reason="queue-full",': "0+0",
    "funnel_filesystem_avail_bytes{": "50+0",
    "funnel_filesystem_size_bytes{": "100+0",
    "funnel_truth_false_certificates_total{": "0+0",
    "funnel_truth_warning{": "0+0",
    STAGE + 'le="0.1",': "0+6000",
    STAGE + 'le="5",': "0+6000",
    STAGE + 'le="+Inf",': "0+6000",
    FSYNC + 'le="0.1",': "0+600",
    FSYNC + 'le="5",': "0+600",
    FSYNC + 'le="+Inf",': "0+600",
    "funnel_index_tail_rows{": "4000+0",
    "funnel_index_merge_rows{": "5000+0",
    "funnel_index_merge_failed{": "0+0",
    "funnel_index_rows{": "90000+0",
    "funnel_index_dead_rows{": "30000+0",
    SCRUB: "60+0",
}
# What is different when something is wrong, by alert.
WRONG: dict[str, dict[str, str]] = {
    "FunnelDown": {"up{": "0+0"},
    "FunnelReadOnly": {"funnel_read_only{": "1+0"},
    "FunnelDamaged": {"funnel_damaged_rows{": "1+0"},
    "FunnelErrors": {'funnel_http_requests_total{status="500",': "0+200"},
    "FunnelDiskNearlyFull": {"funnel_filesystem_avail_bytes{": "9+0"},
    "FunnelFalseCertificate": {"funnel_truth_false_certificates_total{": "0+1"},
    "FunnelRecallLow": {"funnel_truth_warning{": "1+0"},
    "FunnelRefusing": {'funnel_http_refused_total{reason="queue-full",': "0+120"},
    "FunnelSearchSlow": {STAGE + 'le="0.1",': "0+5800"},
    "FunnelFsyncSlow": {FSYNC + 'le="0.1",': "0+580"},
    "FunnelMergeBehind": {"funnel_index_tail_rows{": "15001+0"},
    "FunnelMergeFailed": {"funnel_index_merge_failed{": "1+0"},
    "FunnelManyDead": {"funnel_index_dead_rows{": "30001+0"},
}
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: it comes with Prometheus")


def test_every_alert_has_a_case() -> None:
    """And every case an alert."""
    assert {*WRONG, "FunnelScrubLate"} == set(RULES)


@needs_promtool
def test_each_alert_fires_when_it_should_and_never_else(tmp_path: Path) -> None:
    """What is wrong fires its alert and no other one; at the bounds all is well."""
    _promtool(tmp_path, "1m", [_test("1m", WELL, None), *(_test("1m", WELL | w, name) for name, w in WRONG.items())])


@needs_promtool
def test_a_scrub_is_late_after_a_week(tmp_path: Path) -> None:
    """And not where there has been none yet, as where nobody wants one."""
    _promtool(tmp_path, "2h", [_test("2h", {SCRUB: "60+0"}, "FunnelScrubLate"), _test("2h", {SCRUB: "0+0"}, None)])


def _promtool(folder: Path, step: str, tests: list[dict[str, Any]]) -> None:
    file = folder / "alerts_test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": step, "tests": tests}))
    done = subprocess.run([str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def _test(step: str, given: dict[str, str], fires: str | None) -> dict[str, Any]:
    """One of promtool's tests: in the end `fires` is on, and no other alert."""
    series = [(f'{name}instance="a",job="funnel"}}', values) for name, values in given.items()]
    end = f"{STEPS * int(step[:-1])}{step[-1]}"
    return {
        "name": fires or "all is well",
        "interval": step,
        "input_series": [{"series": name, "values": f"{values}x{STEPS}"} for name, values in series],
        "alert_rule_test": [
            {"eval_time": end, "alertname": name, "exp_alerts": [_expected(rule)] if name == fires else []}
            for name, rule in RULES.items()
        ],
    }


def _expected(rule: dict[str, Any]) -> dict[str, Any]:
    grouped = "sum by (instance)" in rule["expr"] or "sum by (instance, le)" in rule["expr"]
    where = {"instance": "a"} if grouped else {"instance": "a", "job": "funnel"}
    if rule["alert"] == "FunnelFsyncSlow":
        where = {"instance": "a", "file": "vectors"}
    return {"exp_labels": {**rule["labels"], **where}, "exp_annotations": rule["annotations"]}

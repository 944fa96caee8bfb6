"""What an operator looks at: dashboard, alerts and compose profile, against what a running service tells."""

import json
import re
from pathlib import Path
from typing import Any

import operations_page
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service import fill, running

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "funnel.json").read_text("utf-8"))
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {f"panel {panel['title']}": t["expr"] for panel in PANELS for t in panel["targets"]}
EXPRESSIONS |= {f"alert {rule['alert']}": rule["expr"] for rule in RULES}
OF_PROMETHEUS = {"instance", "job", "le"}  # labels it adds, and that of buckets
OPTIONAL = {"funnel_index_merge_rows"}  # has a sample once the index is large
SELECTOR = re.compile(r"\b(up|(?:funnel|process)_\w+)(?:\{([^}]*)\})?")
Labels = dict[str, set[str]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Names of samples -> names of their labels, of a service that was used; what seldom happens is counted by hand."""
    with running(tmp_path_factory.mktemp("observed")) as client:
        fill(client)
        assert client.post("/search", json={"query": "perl", "limit": 2, "shortlist": 3}).status_code == 200
        service = client.app.state.service  # type: ignore[attr-defined]
        service.metrics.degraded.labels("timeout").inc()
        service.metrics.truth.skipped.labels("error").inc()
        service.metrics.truth.dropped.labels("queue").inc()
        text = client.get("/metrics").text
    found: Labels = {"up": set(), **{name: set() for name in OPTIONAL}}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for name in OPTIONAL:
        assert f"# TYPE {name} " in text
    return found


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_what_is_asked_for_is_there(where: str, exported: Labels) -> None:
    """Each name, and each label that chooses, groups or is shown."""
    asked = SELECTOR.findall(EXPRESSIONS[where])
    assert asked, EXPRESSIONS[where]
    known = set(OF_PROMETHEUS)
    for name, chosen in asked:
        assert name in exported, name
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen))
        assert labels <= exported[name] | OF_PROMETHEUS, (name, labels)
        known |= exported[name]
    for grouped in re.findall(r"\b(?:by|without) \(([^)]*)\)", EXPRESSIONS[where]):
        assert {label.strip() for label in grouped.split(",")} <= known, grouped


def test_brackets_and_quotes_are_closed() -> None:
    """As far as can be told without Prometheus."""
    for where, expression in EXPRESSIONS.items():
        assert expression.count('"') % 2 == 0, where
        for opened, closed in ("()", "{}", "[]"):
            assert expression.count(opened) == expression.count(closed), where


def test_what_is_shown_beside_a_curve_is_a_label_of_it(exported: Labels) -> None:
    """A legend with {{label}} has that label among those its expression groups by."""
    for panel in PANELS:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            kept = {label.strip() for group in grouped for label in group.split(",")}
            assert shown <= kept, (panel["title"], shown, kept)


def test_the_dashboard_is_whole() -> None:
    """Panels have ids of their own, a sentence and a unit, overlap nowhere, and ask the data source there is."""
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {t["datasource"]["uid"] for t in panel["targets"]} == {source["uid"]}, panel["title"]


def test_every_alert_says_what_to_do() -> None:
    """Names of their own, a severity, whole sentences."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "do"}, rule["alert"]
        assert all(said.endswith(".") for said in rule["annotations"].values()), rule["alert"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return found


def test_the_profile_observes_what_is_served(compose: dict[str, Any]) -> None:
    """Without it there is the service alone; images are pinned, ports are of this machine, files are there."""
    services = compose["services"]
    assert {name for name, service in services.items() if "profiles" not in service} == {"funnel"}
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["observe"]
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", services[name]["image"])
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
        assert (services[name]["cap_drop"], services[name]["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        for volume in services[name]["volumes"]:
            source = volume.split(":")[0]
            assert (ROOT / source).is_dir() if source.startswith("./") else source in compose["volumes"], volume


def test_prometheus_asks_the_service_by_a_name_that_it_answers_to(compose: dict[str, Any], tmp_path: Path) -> None:
    """The target of the configuration, as the Host header, is let in under the setting of the compose file alone."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "funnel"  # as `up` is asked for
    ((target,),) = (config["targets"] for config in job["static_configs"])
    name, _, port = target.partition(":")
    assert name in compose["services"]
    assert port == compose["services"]["funnel"]["environment"]["FUNNEL_PORT"]
    given = compose["services"]["funnel"]["environment"]["FUNNEL_ALLOWED_HOSTS"]
    hosts = re.fullmatch(r"\$\{FUNNEL_ALLOWED_HOSTS-(.*)\}", given)
    assert hosts
    for allowed, status in ((hosts[1], 200), ("other", 421)):
        with running(tmp_path / allowed, allowed_hosts=allowed) as client:
            assert client.get("/metrics", headers={"host": target}).status_code == status
    files = {Path(path).name for path in config["rule_files"]}
    assert files == {"alerts.yml"}


def test_the_page_is_up_to_date() -> None:
    """Run ./scripts/operations_page.py when a metric or an alert has changed."""
    assert operations_page.PAGE.read_text("utf-8") == operations_page.page()

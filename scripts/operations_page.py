#!/usr/bin/env python3
"""Write the tables of docs/operations.md: the metrics of a running service, the alerts of deploy/prometheus/alerts.yml.

./scripts/operations_page.py
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import yaml
from figures import DOCS
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from app.main import create_app
from app.serving import in_process
from app.settings import Settings

PAGE = DOCS / "operations.md"
ALERTS = DOCS.parent / "deploy" / "prometheus" / "alerts.yml"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


def page() -> str:
    """The page as it is, its tables made again."""
    text = PAGE.read_text("utf-8")
    for name, lines in (("alerts", alerts()), ("metrics", metrics())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, after = text.partition(begin)[0], text.partition(end)[2]
        text = "\n".join([before + begin, *lines, "", end + after])
    return text


def alerts() -> Iterator[str]:
    """What each means and what to do."""
    rules = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"][0]["rules"]
    told = [(rule["alert"], rule["labels"]["severity"], rule["annotations"]) for rule in rules]
    rows = [(f"`{name}`", severity, f"{said['summary']} {said['do']}") for name, severity, said in told]
    return _table(("Alert", "", "What it means, and what to do"), rows)


def metrics() -> Iterator[str]:
    """Every family: its name as it is asked for, its type, its sentence."""
    rows = [(f"`{_asked(found)}`", found.type, found.documentation) for found in families()]
    return _table(("Metric", "Type", ""), sorted(rows))


def families() -> list[Metric]:
    """Those of a service without a model."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(_env_file=None, model="none", dim=4, data_dir=Path(folder) / "data", log_level="error")
        with (
            in_process(create_app(settings), settings) as transport,
            httpx.Client(transport=transport, base_url="http://localhost") as client,
        ):
            text = client.get("/metrics").text
    return [found for found in text_string_to_metric_families(text) if not found.name.endswith("_created")]


def _table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> Iterator[str]:
    for cells in (head, ("---", "---", "---"), *rows):
        yield f"| {' | '.join(cells)} |"


def _asked(found: Metric) -> str:
    return found.name + {"counter": "_total", "info": "_info"}.get(found.type, "")


if __name__ == "__main__":
    main()

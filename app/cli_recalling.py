"""What `funnel recall` does: start a run, follow it, show the curve and what the calibration is worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from app.cli_connect import connect
from app.cli_learning import steps
from app.cli_output import print_json, stopping
from app.cli_search import parse_filter
from app.query_texts import read_queries
from app.recall_plot import check_plot, write_plot

NAMES = {
    "queries": "queries given",
    "vectors": "vectors given",
    "live": "live queries",
    "titles": "titles of documents",
    "documents": "stored documents",
}
DOING = {"queries": "choosing queries", "exact": "exact answers", "curve": "curve", "calibration": "calibrating"}

Json = Mapping[str, Any]


def run_recall(
    url: str | None,
    data_dir: Path | None,
    queries: str | None,
    condition: str | None,
    options: dict[str, Any],
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure, calibrate, show; exit code 130 after Ctrl-C, which changes nothing."""
    if queries is not None and options["source"] is not None:
        raise typer.BadParameter("give one of --queries and --source")
    if plot is not None:
        check_plot(plot)
    body = {
        **options,
        "queries": read_queries(queries, options["seed"] or 0) if queries else None,
        "filter": parse_filter(condition) if condition else None,
    }
    with stopping(), connect(url, data_dir) as client, steps() as report:
        result = client.recall(
            lambda phase, done, total: report(DOING.get(phase, phase), done, total),
            **{name: value for name, value in body.items() if value is not None},
        )
    if plot is not None:
        write_plot(plot, result)
    print_json(result) if as_json else show(result)


def run_forget(url: str | None, data_dir: Path | None) -> None:
    """Take the calibration away."""
    with connect(url, data_dir, model=False) as client:
        there_was = client.forget_calibration()
    told = (
        "the calibration is forgotten: searches use the default shortlist" if there_was else "there is none to forget"
    )
    typer.echo(told)


def show(result: Json) -> None:
    """The curve as a table, what targets take, and what it is all worth."""
    console = Console()
    console.print(as_table(result))
    for line in (*target_lines(result), *result["warnings"], sentence(result)):
        console.print(line, highlight=False, markup=False)


def as_table(result: Json) -> Table:
    """A row for each way to search."""
    asked = f"{result['queries']:,} queries ({NAMES[result['source']]})"
    title = f"{result['documents']:,} documents, {asked}; 95 % intervals; ms of the search alone"
    heads = ("shortlist", f"recall@{result['k']}", "ms p50", "ms p95")
    table = Table(*heads, title=title, title_justify="left")
    for point in result["curve"]:
        ms = point["ms"]
        table.add_row(named(point), interval(point["recall"]), f"{ms['median']:.2f}", f"{ms['p95']:.2f}")
    return table


def target_lines(result: Json) -> list[str]:
    """`target 0.98: recall 0.981 (0.975-0.986) by 312 rows, 2.10 ms`, on queries the calibration did not see."""
    lines = []
    for point in result["targets"]:
        how = "an exact search" if point["exact"] == 1.0 else f"{point['rows']:,.0f} rows"
        found = f"recall {interval(point['recall'])} by {how}, {point['ms']['median']:.2f} ms"
        lines.append(f"target {point['target']}: {found}, on {point['queries']:,} other queries")
    return lines


def sentence(result: Json) -> str:
    """What target recalls go by from now on."""
    made = result["calibration"]
    if made is None:
        return "Nothing was changed."
    worth = "holds for queries like these" if made["guaranteed"] else "without a guarantee"
    return f"Calibrated on {made['queries']:,} {NAMES[made['source']]}, {worth}: {made['id']}"


def named(point: Json) -> str:
    """`400`, `800 -> 256: 200`, or `exact`."""
    if point["exact"] == 1.0:
        return "exact"
    (_, first), *rest = point["stages"]
    return " -> ".join([f"{first:,}", *(f"{dims}: {keep:,}" for dims, keep in rest)])


def interval(recall: Json) -> str:
    """`0.981 (0.975-0.986)`."""
    return f"{recall['mean']:.3f} ({recall['low']:.3f}-{recall['high']:.3f})"

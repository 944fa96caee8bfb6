"""The commands that ask: search, delete, info, stats."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli_connect import connect
from app.cli_output import print_json, print_pairs, snippet


def run_search(
    query: str,
    url: str | None,
    data_dir: Path | None,
    asked: Mapping[str, Any],
    condition: str | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Print what is found for a text; `asked` are fields of the request, None where they are left out."""
    wanted = {**asked, "filter": condition and parse_filter(condition)}
    body = {name: value for name, value in wanted.items() if value is not None}
    with Console(stderr=True).status("searching"), connect(url, data_dir) as client:
        answer = client.search(query, explain=explain, **body)
    if as_json:
        print_json(answer)
    else:
        print_results(answer, explain)


def run_delete(ids: list[str], url: str | None, data_dir: Path | None, condition: str | None, yes: bool) -> None:
    """Delete by ids or by filter, and say how many there were."""
    if bool(ids) == (condition is not None):
        raise typer.BadParameter("give ids, or --filter, and not both")
    with connect(url, data_dir, model=False) as client:
        if condition is None:
            deleted = client.delete(ids)
        else:
            matching = parse_filter(condition)
            if not yes:
                typer.confirm(f"Delete {client.count(matching):,} documents?", abort=True)
            deleted = client.delete_where(matching)
    typer.echo(f"deleted {deleted:,}")


def run_info(url: str | None, data_dir: Path | None, as_json: bool) -> None:
    """Print what the service is."""
    with connect(url, data_dir) as client:
        answer = client.info()
    print_json(answer) if as_json else print_pairs("Service", answer)


def run_stats(url: str | None, data_dir: Path | None, as_json: bool) -> None:
    """Print what the index holds and takes."""
    with connect(url, data_dir, model=False) as client:
        answer = client.stats()
    print_json(answer) if as_json else print_pairs("Index", answer)


def parse_filter(text: str) -> dict[str, Any]:
    """The filter of an option. Raises typer.BadParameter when it is not a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--filter is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter('--filter must be an object such as {"kind": "function"}')
    return value


def print_results(answer: dict[str, Any], explain: bool) -> None:
    """A table of hits and a line about how they were found."""
    table = Table("score", *(["prefix rank"] if explain else []), "document", show_lines=True)
    for hit in answer["results"]:
        ranks = [str(hit["explain"]["prefix_rank"] or "-")] if explain else []
        body = snippet(hit.get("text"))
        heading = escape(hit.get("title") or hit["id"])
        name = f"[bold]{heading}[/bold]" + (f"  [dim]{escape(hit['id'])}[/dim]" if hit.get("title") else "")
        table.add_row(f"{hit['score']:.3f}", *ranks, f"{name}\n{escape(body)}" if body else name)
    console = Console()
    console.print(table if answer["results"] else "nothing found")
    if fewer := answer.get("fewer"):
        console.print(f"fewer than {fewer['wanted']}: {escape(fewer['detail'])}", highlight=False)
    console.print(how_found(answer), style="dim", highlight=False)
    if explain:
        console.print(what_it_took(answer["funnel"]["explain"]), style="dim", highlight=False)


def how_found(answer: dict[str, Any]) -> str:
    """`63,436 documents, 64 -> 400, 768 -> 10, 6.7 ms`, and what the recall is thought to be."""
    stages = ", ".join(f"{dims} -> {keep}" for dims, keep in answer["funnel"]["stages"])
    degraded = f", degraded: {json.dumps(answer['degraded'])}" if answer["degraded"] else ""
    took = f"{answer['timing_ms']['total']:.1f} ms"
    return f"{answer['index']['count']:,} documents, {stages}, {took}{recall_of(answer['funnel'])}{degraded}"


def what_it_took(work: Mapping[str, Any]) -> str:
    """`compared 63,436 prefixes and 192 full vectors (3 cold), corrections of the order: 1, stopped: rule`."""
    prefixes = "prefixes along a graph" if (count := work["distances"]["prefix"]) is None else f"{count:,} prefixes"
    cold = "" if work["cold_rows"] is None else f" ({work['cold_rows']:,} cold)"
    corrected = f", corrections of the order: {work['corrections']}" if work["corrections"] else ""
    stopped = f", stopped: {work['stop']['reason']}" if work["stop"] else ""
    return f"compared {prefixes} and {work['reranked']:,} full vectors{cold}{corrected}{stopped}"


def recall_of(funnel: Mapping[str, Any]) -> str:
    """`, recall about 0.98 (90 % of answers: at least 0.90), calibration 2026-...`; `, exact` where that is proved."""
    if funnel["certified"]:
        return ", exact"
    if funnel["shortlist_source"] == "uncalibrated":
        return ", not calibrated: a cautious shortlist for the target; see `funnel recall`"
    if funnel["recall_estimate"] is None:
        return ""
    worth = f"recall about {funnel['recall_estimate']:.3f} (90 % of answers: at least {funnel['recall_lower_90']:.2f})"
    return f", {worth}, calibration {funnel['calibration_id']}"

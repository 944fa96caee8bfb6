"""The command `funnel recall` and its options; what it does is in `app.cli_recalling`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli_options import DataDir, Json, Url


def recall(
    url: Url = None,
    data_dir: DataDir = None,
    queries: Annotated[
        str | None,
        typer.Option(help="File of queries: a text a line, or JSONL.", show_default="the first source there is"),
    ] = None,
    source: Annotated[
        Literal["live", "titles", "documents"] | None,
        typer.Option(help="Queries without a file: recent live ones, titles of documents, or documents."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=20, max=10_000, help="Number of queries.", show_default="1000, of many: 2000")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Results whose recall is measured.")] = 10,
    shortlist: Annotated[
        list[int] | None, typer.Option(min=1, help="A length to measure; repeatable.", show_default="50, 100, 200, ...")
    ] = None,
    filter: Annotated[str | None, typer.Option(help="Measure among documents that match, as JSON.")] = None,
    no_calibrate: Annotated[bool, typer.Option("--no-calibrate", help="Measure, and change nothing.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Take the calibration away instead.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve into this file, .png or .svg.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Draw the same queries again.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Measure how much of the exact results searches find, and learn what a target recall takes.

    Every query is answered exactly once, and by every shortlist; intervals are 95 %. Then target recalls are
    calibrated: [bold]funnel search --target-recall 0.98[/bold], and searches that say nothing, use what was learned.
    A guarantee is claimed only for queries of users, from --queries or live ones. The service goes on answering
    meanwhile; Ctrl-C changes nothing.

    [bold]funnel recall[/bold]
    [bold]funnel recall --queries asked-last-month.txt --plot recall.png[/bold]
    [bold]funnel recall -k 100 --shortlist 400 --shortlist 800 --no-calibrate --json[/bold]
    [bold]funnel recall --filter '{"section": "perl"}' --source titles --no-calibrate[/bold]
    [bold]funnel recall --forget[/bold]
    """
    from app.cli_recalling import run_forget, run_recall

    if forget:
        run_forget(url, data_dir)
    else:
        plain = {"source": source, "sample": sample, "k": k, "shortlists": shortlist or None, "seed": seed}
        run_recall(url, data_dir, queries, filter, {**plain, "calibrate": not no_calibrate}, plot, json)

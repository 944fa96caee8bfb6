"""The command `adapt`: options alone; what it does is in cli_adapting.py."""

from typing import Annotated

import typer

from app.cli_options import DataDir, Json, Url


def adapt(
    url: Url = None,
    data_dir: DataDir = None,
    sample: Annotated[int, typer.Option(min=1000, help="Documents that are read, at most.")] = 50_000,
    queries: Annotated[
        str | None, typer.Option(help="Measure on the texts of this file.", show_default="held-out documents")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(help="Learn a map of the queries instead: from a file of pairs, or 'titles'.", show_default=False),
    ] = None,
    pca: Annotated[bool, typer.Option("--pca", help="Principal directions alone; nothing is learned.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of learning.", show_default="300")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Apply it even if it does not help.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the rotation away.")] = False,
    undo_pairs: Annotated[bool, typer.Option("--undo-pairs", help="Take the map of the queries away.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the map is set.")] = False,
    seed: int = 0,
    json: Json = False,
) -> None:
    """Make the shortlist shorter: learn a rotation from the documents that are stored, measure it, apply it.

    Scores and exact results stay as they are, stored vectors too; the first numbers after the rotation carry more of
    the ranking. It needs no labels, takes minutes, and is applied only if it helps for sure. Ctrl-C changes nothing.

    With --pairs a map of the queries is learned from pairs of a query and its document ("query" and "text" or "id"),
    which changes scores: it is measured, shown, and set when you agree.

    [bold]funnel adapt --dry-run[/bold]
    [bold]funnel adapt --queries asked-last-month.txt[/bold]
    [bold]funnel adapt --undo[/bold]
    [bold]funnel adapt --pairs clicks.jsonl --data-dir ./data[/bold]
    """
    from app.cli_adapting import run
    from app.cli_learning import AdaptOptions

    options = AdaptOptions(sample, queries, pairs, pca, steps, dry_run, force, yes, json, seed)
    run(url, data_dir, options, undo, undo_pairs)

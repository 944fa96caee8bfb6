"""The command `funnel compact`: erases what was deleted."""

from typing import Annotated, Any

import typer

from app.cli_options import DataDir, Json, Url


def compact(
    url: Url = None,
    data_dir: DataDir = None,
    purge_snapshots: Annotated[
        bool, typer.Option("--purge-snapshots", help="Delete the snapshots that hold erased rows.")
    ] = False,
    json: Json = False,
) -> None:
    """Erase what was deleted or replaced, and give its disk space back.

    The live rows are written again without the dead ones, which needs room for a copy of them; a service goes on
    answering meanwhile. Afterwards no file of the index holds a byte of what was deleted before. Ctrl-C changes
    nothing. [bold]funnel stats[/bold] tells how many rows are dead.

    [bold]funnel compact[/bold]
    [bold]funnel compact --data-dir ./data --purge-snapshots[/bold]
    """
    from app.cli_connect import connect
    from app.cli_learning import steps
    from app.cli_output import print_json, stopping

    with stopping(), connect(url, data_dir, model=False) as client, steps() as report:
        answer = client.compact(purge_snapshots, lambda done, total: report("compacting", done, total))
    if json:
        print_json(answer)
        return
    for line in lines(answer):
        typer.echo(line)


def lines(answer: dict[str, Any]) -> list[str]:
    """What came of it, plainly."""
    if not answer["erased"]:
        told = [f"nothing to erase: all {answer['rows_after']:,} rows are alive"]
    else:
        before, after = (answer[f"bytes_{when}"] / 2**20 for when in ("before", "after"))
        told = [
            f"{answer['erased']:,} of {answer['rows_before']:,} rows erased; {before:,.1f} MiB before, {after:,.1f} now"
        ]
    if names := answer["snapshots_with_erased_rows"]:
        held = "deleted" if answer["purged_snapshots"] else "still there, delete them with --purge-snapshots"
        told.append(f"snapshots with erased rows, {held}: {', '.join(names)}")
    if files := answer["kept_by_repair"]:
        told.append(f"saved by `funnel repair`, may hold erased rows, yours to remove: {', '.join(files)}")
    if files := answer["not_removed"]:
        told.append(f"could not be removed, goes at the next start: {', '.join(files)}")
    return told

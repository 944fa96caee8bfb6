"""The commands `funnel snapshot ...` and `funnel restore`: everything in one file, and back."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli_options import DataDir, Json, Url

snapshot = typer.Typer(
    no_args_is_help=True,
    help="Make, list, download and delete snapshots: everything as it is at one moment, in one checked file.",
    epilog="[bold]funnel snapshot create && funnel snapshot list[/bold]\n\n"
    "Back again: [bold]funnel restore 20260131-120000-1.tar --data-dir ./new[/bold]",
)
LEFT = "nothing of it stays"
Name = Annotated[str, typer.Argument(help="As funnel snapshot list shows it.")]


@snapshot.command()
def create(
    name: Annotated[
        str | None, typer.Argument(help="1 to 64 of a-z, 0-9 and -.", show_default="the time and a counter")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Write everything, as it is now, into one file in the folder snapshots/ of the data directory.

    The service goes on answering and storing; the file has what was stored when it began. It holds texts, metadata,
    vectors, the shortlist's graph, rotation and calibration. Ctrl-C leaves nothing of it.

    [bold]funnel snapshot create[/bold]
    [bold]funnel snapshot create before-the-move --data-dir ./data[/bold]
    """
    from app.cli_connect import connect
    from app.cli_output import print_json, size, stopping

    with stopping(LEFT), connect(url, data_dir, model=False) as client, _bar("writing") as show:
        made = client.make_snapshot(name, show)
    if json:
        print_json(made)
    else:
        typer.echo(f"{made['name']}: {made['count']:,} documents, {size(made['bytes'])}")


@snapshot.command("list")
def show(url: Url = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show the snapshots there are, the oldest first, and files among them that cannot be read.

    [bold]funnel snapshot list[/bold]
    [bold]funnel snapshot list --json | jq -r '.[-1].name'[/bold]
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from app.cli_connect import connect
    from app.cli_output import print_json
    from app.cli_output import size as shown

    with connect(url, data_dir, model=False) as client:
        found = client.snapshots()
    if json:
        return print_json(found)
    table = Table("created (UTC)", "documents", "size")
    table.add_column("name", overflow="fold", min_width=20)
    for one in found:
        known = (one["created"], f"{one['count']:,}") if "error" not in one else ("-", "-")
        named = one["name"] if "error" not in one else f"{one['name']}: {one['error']}"
        table.add_row(*known, shown(one["bytes"]), escape(named))
    Console().print(table)
    return None


@snapshot.command()
def download(
    name: Name,
    file: Annotated[Path | None, typer.Argument(help="Where to write it.", show_default="NAME.tar")] = None,
    url: Url = None,
    data_dir: DataDir = None,
) -> None:
    """Write a snapshot to a file here. A file of that name appears only when it is whole.

    [bold]funnel snapshot download 20260131-120000-1[/bold]
    [bold]funnel snapshot download nightly /backup/nightly.tar --url https://search.example[/bold]
    """
    from app.cli_connect import connect
    from app.cli_output import stopping

    target = file or Path(f"{name}.tar")
    if target.exists():
        raise typer.BadParameter(f"{target} exists already; delete it, or name another file")
    with stopping(LEFT), connect(url, data_dir, model=False) as client, _bar("downloading") as show:
        client.download_snapshot(name, target, show)
    typer.echo(f"{target}: check it with `funnel restore {target} --data-dir NEW`")


@snapshot.command()
def delete(name: Name, url: Url = None, data_dir: DataDir = None) -> None:
    """Delete a snapshot.

    [bold]funnel snapshot delete 20260131-120000-1[/bold]
    """
    from app.cli_connect import connect

    with connect(url, data_dir, model=False) as client:
        client.delete_snapshot(name)
    typer.echo(f"{name}: deleted")


def restore(
    file: Annotated[str, typer.Argument(help="A snapshot; - reads standard input.")],
    data_dir: Annotated[Path, typer.Option(help="Where to: a directory that is missing or empty.")],
) -> None:
    """Make a data directory of a snapshot.

    Every checksum is compared and every document, vector and metadata entry is checked before the directory counts as
    an index; interrupted or refused, nothing is left that a service would open. Its searches then answer to the bit
    like those of the index it was made of. Restore only snapshots from people whose index you would open.

    [bold]funnel restore data/snapshots/20260131-120000-1.tar --data-dir ./restored[/bold]
    [bold]ssh backup cat nightly.tar | funnel restore - --data-dir ./restored[/bold]
    [bold]funnel serve --data-dir ./restored[/bold]
    """
    from app.cli_output import stopping
    from index.restoring import restore as restored

    size = None if file == "-" else Path(file).stat().st_size
    with stopping(LEFT), _bar("restoring") as show, sys.stdin.buffer if file == "-" else open(file, "rb") as stream:
        head = restored(stream, data_dir, size, lambda what, done, total: show(done, total, what))
    typer.echo(f"{data_dir}: {head['count']:,} documents as of {head['created']}, every checksum right")


class Show:
    """A bar that tells the share that is done, of one kind of work after the other."""

    def __init__(self, what: str) -> None:
        from app.cli_output import share_bar

        self.bar = share_bar()
        self._what, self._tasks = what, {what: self.bar.add_task(what, total=None)}

    def __call__(self, done: int, total: int, what: str | None = None) -> None:
        """So much of it is done."""
        name = what or self._what
        if name not in self._tasks:
            self._tasks[name] = self.bar.add_task(name, total=total)
        self.bar.update(self._tasks[name], completed=done, total=total)


@contextmanager
def _bar(what: str) -> Iterator[Show]:
    show = Show(what)
    with show.bar:
        yield show

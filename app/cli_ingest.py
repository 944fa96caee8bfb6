"""The command `ingest`: from a file to durable documents, with a bar.

An interrupted ingest is continued by running it again. There is no checkpoint file: the service recognises what
it stores already by its hash and neither embeds nor moves it, which costs far less than embedding, and stays
right when the file or the index has changed in between.
"""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from app.arrow_files import ArrowFile
from app.cli_connect import connect
from app.cli_output import progress_bar
from app.client import Client, Mode, Totals
from app.records import Fields, Format, Record, count, read

LISTED = 20  # failures shown; --failures writes them all


class Source:
    """The documents of a file on their way out: which line each came from, and which lines hold none."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self._lines = array("Q")  # of the documents sent, 8 bytes each
        self.refused: list[dict[str, Any]] = []  # never sent: broken lines

    def documents(self) -> Iterator[dict[str, Any]]:
        """Documents for the client; broken lines are put aside."""
        for record in self._records:
            if record.document is None:
                self.refused.append({"line": record.line, "id": None, "detail": record.error})
            else:
                self._lines.append(record.line)
                yield record.document

    def send(self, client: Client, mode: Mode, show: Callable[[Totals], None]) -> Totals:
        """Send them all."""
        return client.ingest(self.documents(), mode, show)

    def failures(self, totals: Totals) -> list[dict[str, Any]]:
        """Everything that was not stored, with the line of the file, in its order."""
        failed = [{"line": self._lines[f.position - 1], "id": f.id, "detail": f.detail} for f in totals.failures]
        return sorted(self.refused + failed, key=lambda failure: failure["line"])


class ArrowSource(Source):
    """The same of a file of columns, which go out as they are."""

    def __init__(self, file: ArrowFile) -> None:
        super().__init__(())
        self._file = file

    def send(self, client: Client, mode: Mode, show: Callable[[Totals], None]) -> Totals:
        """Send them all."""
        return client.ingest_arrow(self._file.batches(), mode, show)

    def failures(self, totals: Totals) -> list[dict[str, Any]]:
        """Everything that was not stored, with its row, from 1."""
        return [{"line": f.position, "id": f.id, "detail": f.detail} for f in totals.failures]


def run_ingest(
    file: str,
    url: str | None,
    data_dir: Path | None,
    fields: Fields,
    form: Format | None,
    mode: Mode,
    failures_file: Path | None,
    arrow: bool = False,
) -> None:
    """Store a file; exit code 1 when something was refused, 130 after Ctrl-C."""
    if failures_file:
        failures_file.open("a").close()  # a path that cannot be written is told now, not after the work
    source, total = _source(file, fields, form, arrow)
    totals, finished = _send(source, total, url, data_dir, mode)
    failures = source.failures(totals)
    _report(totals, failures, failures_file)
    if not finished:
        typer.echo("stopped; run the same command again to go on: what is stored is skipped", err=True)
        raise typer.Exit(130)
    if failures:
        raise typer.Exit(1)


def _source(file: str, fields: Fields, form: Format | None, arrow: bool) -> tuple[Source, int | None]:
    """The documents of a file, and how many there are."""
    if arrow:
        columns = ArrowFile(file, fields)
        return ArrowSource(columns), columns.rows
    return Source(read(file, fields, form)), count(file, form)


def _send(source: Source, total: int | None, url: str | None, data_dir: Path | None, mode: Mode) -> tuple[Totals, bool]:
    """What became of the documents, and whether all were sent."""
    latest = Totals()
    with progress_bar() as bar:
        task = bar.add_task("opening" if data_dir else "sending", total=total)

        def show(totals: Totals) -> None:
            nonlocal latest
            latest = totals
            bar.update(task, completed=totals.processed + len(source.refused), description="storing")

        try:
            with connect(url, data_dir, create=True) as client:
                show(source.send(client, mode, show))
        except KeyboardInterrupt:
            return latest, False
    return latest, True


def _report(totals: Totals, failures: list[dict[str, Any]], failures_file: Path | None) -> None:
    kinds = ("created", "updated", "unchanged", "superseded", "truncated")
    counts = [f"{getattr(totals, kind):,} {kind}" for kind in kinds if getattr(totals, kind)]
    typer.echo(f"{totals.stored:,} durable: {', '.join(counts) or 'nothing new'}; {len(failures):,} refused")
    for failure in failures[:LISTED]:
        named = f" ({failure['id']})" if failure["id"] is not None else ""
        typer.echo(f"  line {failure['line']}{named}: {failure['detail']}", err=True)
    if len(failures) > LISTED and failures_file is None:
        typer.echo(f"  and {len(failures) - LISTED:,} more; --failures FILE writes them all", err=True)
    if failures_file:
        lines = (json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
        failures_file.write_text("".join(lines), "utf-8")

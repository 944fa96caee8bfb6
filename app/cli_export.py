"""The command `funnel export`: documents into a file that `funnel ingest` reads again."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli_options import DataDir, Url

PAGE = 256  # documents asked for at a time


def export(
    file: Annotated[
        str, typer.Argument(help=".jsonl or .ndjson, also .gz, or .parquet; - writes NDJSON to standard output.")
    ],
    url: Url = None,
    data_dir: DataDir = None,
    with_vectors: Annotated[
        bool, typer.Option("--with-vectors", help="With the stored vectors: base64 of float32, in Parquet a list.")
    ] = False,
    filter: Annotated[str | None, typer.Option(help="Only documents that match, as JSON.", show_default="all")] = None,
) -> None:
    """Write documents to a file: id, title, text and metadata, in the order of their ids.

    A file of that name appears only when it is whole. Documents are read page by page: of what is written meanwhile
    some is in it, some is not; [bold]funnel snapshot create[/bold] keeps one moment of everything.

    [bold]funnel ingest[/bold] reads the file again, into any index, and its model embeds the texts. With
    --with-vectors the vectors are used as they are and nothing is embedded, which is for an index of the same model:
    from then on they count as the documents' own, which [bold]funnel reindex[/bold] cannot make again.

    [bold]funnel export documents.jsonl.gz[/bold]
    [bold]funnel export perl.parquet --with-vectors --filter '{"section": "perl"}'[/bold]
    [bold]funnel export - --data-dir ./data | jq -r .id[/bold]
    [bold]funnel ingest documents.jsonl.gz --data-dir ./new[/bold]
    """
    from app.cli_search import parse_filter

    condition = parse_filter(filter) if filter else None
    try:
        number = run_export(file, url, data_dir, with_vectors, condition)
    except KeyboardInterrupt:
        kept = "what was written is not whole" if file == "-" else "nothing was written"
        typer.echo(f"stopped; {kept}", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # as of `funnel export - | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    typer.echo(f"{number:,} documents written to {'standard output' if file == '-' else file}", err=True)


def run_export(
    file: str, url: str | None, data_dir: Path | None, with_vectors: bool, condition: dict[str, object] | None
) -> int:
    """Write the documents; how many there were."""
    from app.cli_connect import connect
    from app.cli_output import progress_bar
    from app.exporting import opened

    number = 0
    with opened(file, with_vectors) as sink, connect(url, data_dir, model=False) as client, progress_bar() as bar:
        task = bar.add_task("exporting", total=client.count(condition))
        page = min(PAGE, client.info()["limits"]["max_limit"])
        for document in client.scroll(condition, page, with_vectors):
            sink.write(document)
            number += 1
            if number % page == 0:
                bar.update(task, completed=number)
        bar.update(task, completed=number, total=number)
    return number

"""The command `funnel`: its commands and their options. What they do is in the modules beside this one.

Nothing heavy is imported before a command needs it, so that `funnel --help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli_adapt import adapt
from app.cli_compact import compact
from app.cli_evaluate import evaluate
from app.cli_export import export
from app.cli_import import import_
from app.cli_key import key
from app.cli_mcp import mcp
from app.cli_options import Arrow, DataDir, Folder, Form, Json, Mode, Url, Words, expected_errors
from app.cli_recall import recall
from app.cli_repair import repair, verify
from app.cli_snapshots import restore, snapshot
from app.cli_train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Funnel search: shortlist on 64 dimensions in memory, rerank with 768 from disk.\n\n"
    "Commands talk to a running service (--url), or open a directory themselves (--data-dir).\n"
    "The service is configured by FUNNEL_* variables and a .env file. To one that has keys, commands send "
    "FUNNEL_CLIENT_KEY.",
    epilog="First steps: [bold]funnel serve[/bold], then in another terminal [bold]funnel ingest notes.jsonl[/bold]\n\n"
    "and [bold]funnel search 'parse a date from text'[/bold]. Each command has a --help with examples.",
)


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="FUNNEL_HOST or 127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="FUNNEL_PORT or 8000")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory of the index.", show_default="FUNNEL_DATA_DIR or data")
    ] = None,
) -> None:
    """Serve an index over HTTP until Ctrl-C.

    [bold]funnel serve[/bold]
    [bold]FUNNEL_API_KEY_FILE=api-key funnel serve --host 0.0.0.0[/bold]
    [bold]FUNNEL_MODEL=nomic-ai/nomic-embed-text-v1.5 funnel serve --port 8001 --data-dir nomic[/bold]
    """
    from app.cli_directory import run_server

    run_server(host=host, port=port, data_dir=data_dir)


@app.command()
def ingest(
    file: Annotated[
        str, typer.Argument(help="JSONL, NDJSON, CSV or Parquet, also .gz; - reads JSONL from standard input.")
    ],
    url: Url = None,
    data_dir: DataDir = None,
    id_field: Annotated[
        str | None, typer.Option(help="Field of the id.", show_default="_id or id, else a hash of the content")
    ] = None,
    text_field: Annotated[str, typer.Option(help="Field of the text.")] = "text",
    title_field: Annotated[str, typer.Option(help="Field of the title.")] = "title",
    metadata_field: Annotated[
        list[str] | None, typer.Option(help="Field kept as metadata; repeatable.", show_default="all others")
    ] = None,
    form: Form = None,
    mode: Mode = "upsert",
    arrow: Arrow = False,
    failures: Annotated[Path | None, typer.Option(help="Write what was refused to this file, as NDJSON.")] = None,
) -> None:
    """Store the documents of a file.

    Every document is durable and searchable once it is counted. Interrupted? Run the same command again:
    what is stored already is skipped, without being embedded again.

    [bold]funnel ingest corpus.jsonl.gz[/bold]
    [bold]funnel ingest vectors.parquet --arrow[/bold]
    [bold]funnel ingest products.csv --id-field sku --text-field description --title-field name[/bold]
    [bold]zcat dump.gz | jq -c '{id, text: .body}' | funnel ingest - --data-dir ./data[/bold]
    """
    from app.cli_ingest import run_ingest
    from app.records import Fields

    fields = Fields(id_field, text_field, title_field, tuple(metadata_field or ()))
    run_ingest(file, url, data_dir, fields, form, mode, failures, arrow)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    url: Url = None,
    data_dir: DataDir = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Number of results.")] = 10,
    shortlist: Annotated[
        int | None, typer.Option(min=1, help="Candidates that are reranked.", show_default="chosen by size")
    ] = None,
    target_recall: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Share of the exact results to find.", show_default=False)
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare all full vectors.")] = False,
    words: Words = None,
    filter: Annotated[str | None, typer.Option(help="Conditions on metadata, as JSON.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the ranks in both stages.")] = False,
    json: Json = False,
) -> None:
    """Search for a text.

    [bold]funnel search "parse a date from text"[/bold]
    [bold]funnel search "compress data" -n 3 --filter '{"kind": {"$in": ["function", "method"]}}'[/bold]
    [bold]funnel search "sort a list" --shortlist 50 --explain --json[/bold]
    [bold]funnel search "sort a list" --target-recall 0.98[/bold]
    [bold]funnel search "E11000" --words 0.5[/bold]
    """
    from app.cli_search import run_search

    hybrid = None if words is None else {"weight": words}
    asked = {"limit": limit, "shortlist": shortlist, "target_recall": target_recall, "exact": exact, "hybrid": hybrid}
    run_search(query, url, data_dir, asked, filter, explain, json)


@app.command()
def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of documents.")] = None,
    url: Url = None,
    data_dir: DataDir = None,
    filter: Annotated[str | None, typer.Option(help="Delete all that match, as JSON, instead of ids.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting by filter.")] = False,
) -> None:
    """Delete documents by id or by filter.

    [bold]funnel delete datetime.datetime.strptime[/bold]
    [bold]funnel delete --filter '{"package": "email"}'[/bold]
    """
    from app.cli_search import run_delete

    run_delete(ids or [], url, data_dir, filter, yes)


@app.command()
def info(url: Url = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show the model, the widths and the limits.

    [bold]funnel info[/bold]
    """
    from app.cli_search import run_info

    run_info(url, data_dir, json)


@app.command()
def stats(url: Url = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show how many documents there are and what they take.

    [bold]funnel stats --json | jq .count[/bold]
    """
    from app.cli_search import run_stats

    run_stats(url, data_dir, json)


@app.command()
def reindex(data_dir: Folder = None) -> None:
    """Embed all stored texts again with the model of the settings, then swap the new index in.

    Stop the service first. Interrupted? Run it again: it goes on where it stopped; until the end the old
    index stays as it is.

    [bold]FUNNEL_MODEL=mixedbread-ai/mxbai-embed-large-v1 funnel reindex[/bold]
    """
    from app.cli_directory import run_reindex

    run_reindex(data_dir)


app.command()(adapt)
app.command()(recall)
app.command()(compact)
app.add_typer(snapshot, name="snapshot")
app.command()(restore)
app.command()(export)
app.add_typer(import_, name="import")
app.command()(verify)
app.command()(repair)
app.command()(key)
app.command()(mcp)
app.command()(evaluate)
app.command()(train)


def main() -> None:
    """Run a command; an expected error is one line on standard error and exit code 1, Ctrl-C is 130."""
    # Threads of a model or of FAISS that wait for each other sleep: spinning, they took the core from those they wait
    # for, and a query took 4 s instead of 8 ms beside other programs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except SystemExit:  # how every command ends, --help among them: the line below would import all its errors
        raise
    except expected_errors() as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

"""The command `funnel import`: the vectors of another system, as they are."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli_options import DataDir, Mode, Url

if TYPE_CHECKING:
    from app.client import Client, Totals
    from app.foreign import Foreign

LISTED = 20  # refused documents that are shown

Collection = Annotated[str | None, typer.Option(help="Name of the collection.", show_default="the only one")]
Documents = Annotated[
    str | None, typer.Option(help="JSONL, CSV or Parquet: record n belongs to row n.", show_default="no texts")
]

import_ = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Bring documents with their vectors from Chroma, Qdrant or FAISS.\n\n"
    "Nothing is embedded again, so that the service has to be of the same width: for vectors of 384 numbers and no "
    "model FUNNEL_MODEL=none and FUNNEL_DIM=384, or the model that made them. Vectors are normalised: scores are "
    "cosines. Interrupted? Run it again: what is stored is skipped.",
)


@import_.command()
def chroma(
    folder: Annotated[Path, typer.Argument(help="Directory of a PersistentClient; no server may have it open.")],
    collection: Collection = None,
    url: Url = None,
    data_dir: DataDir = None,
    mode: Mode = "upsert",
) -> None:
    """Import a collection of Chroma: ids, documents, metadata, embeddings.

    It needs the extra: [bold]pip install 'funnel-search\\[chroma]'[/bold].

    [bold]funnel import chroma ./chroma --collection notes[/bold]
    """
    from app.foreign_chroma import ChromaCollection

    _run(nullcontext(ChromaCollection(folder, collection)), url, data_dir, mode)


@import_.command()
def qdrant(
    source: Annotated[str, typer.Argument(help="Address of a server, or a directory of qdrant-client's local mode.")],
    collection: Collection = None,
    vector: Annotated[str | None, typer.Option(help="Name of the vector to take.", show_default="the only one")] = None,
    text_field: Annotated[str, typer.Option(help="Field of the payload that is the text.")] = "text",
    trust: Annotated[
        bool, typer.Option("--trust", help="Read a directory, whose pickles can run code: only one that you made.")
    ] = False,
    url: Url = None,
    data_dir: DataDir = None,
    mode: Mode = "upsert",
) -> None:
    """Import a collection of Qdrant: ids, payloads, dense vectors. A snapshot has to be restored into a server first.

    A key is taken from QDRANT_API_KEY. It needs the extra: [bold]pip install 'funnel-search\\[qdrant]'[/bold].

    [bold]funnel import qdrant http://127.0.0.1:6333 --collection notes[/bold]
    [bold]funnel import qdrant http://127.0.0.1:6333 --collection notes --vector dense --text-field page_content[/bold]
    """
    from app.foreign_qdrant import qdrant_collection

    _run(qdrant_collection(source, collection, vector, text_field, trust), url, data_dir, mode)


@import_.command("faiss")
def faiss_(
    file: Annotated[Path, typer.Argument(help="What faiss.write_index wrote; only a file that you trust.")],
    documents: Documents = None,
    id_field: Annotated[str | None, typer.Option(help="Field of the id.", show_default="_id or id")] = None,
    text_field: Annotated[str, typer.Option(help="Field of the text.")] = "text",
    url: Url = None,
    data_dir: DataDir = None,
    mode: Mode = "upsert",
) -> None:
    """Import an index file of FAISS, with the texts that were kept beside it.

    [bold]funnel import faiss vectors.faiss --documents texts.jsonl[/bold]
    """
    from app.foreign_faiss import FaissFile
    from app.records import Fields

    _run(nullcontext(FaissFile(file, documents, Fields(id_field, text_field))), url, data_dir, mode)


def _run(opened: "AbstractContextManager[Foreign]", url: str | None, data_dir: Path | None, mode: Mode) -> None:
    """Send everything; exit code 1 when something was refused, 130 after Ctrl-C."""
    from app.cli_connect import connect
    from app.cli_output import stopping
    from app.extras import extra_module

    extra_module("pyarrow", "parquet")
    again = "run the same command again to go on: what is stored is skipped"
    with stopping(again), opened as foreign, connect(url, data_dir, create=True) as client:
        if foreign.notice:
            typer.echo(f"note: {foreign.notice}", err=True)
        totals = _sent(foreign, client, mode)
    counts = ", ".join(f"{getattr(totals, kind):,} {kind}" for kind in ("created", "updated", "unchanged"))
    typer.echo(f"{totals.stored:,} of {foreign.count:,} durable: {counts}; {totals.failed:,} refused")
    for failure in totals.failures[:LISTED]:
        typer.echo(f"  row {failure.position} ({failure.id}): {failure.detail}", err=True)
    if totals.failed:
        raise typer.Exit(1)


def _sent(foreign: "Foreign", client: "Client", mode: Mode) -> "Totals":
    from app.cli_output import progress_bar
    from app.foreign import batches, must_fit

    must_fit(foreign, client)
    with progress_bar() as bar:
        task = bar.add_task(f"importing {foreign.name}", total=foreign.count)
        return client.ingest_arrow(batches(foreign), mode, lambda now: bar.update(task, completed=now.processed))

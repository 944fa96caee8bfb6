"""The commands `funnel verify` and `funnel repair`."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli_options import Folder, Json

if TYPE_CHECKING:
    from app.settings import Settings
    from index.reindex import Embed


def verify(
    data_dir: Folder = None,
    json: Json = False,
    forget_damaged: Annotated[
        bool, typer.Option("--forget-damaged", help="Give up a rotation or query map whose file is lost or damaged.")
    ] = False,
) -> None:
    """Check every stored document, vector and checksum of a directory; exits with 1 if anything is wrong.

    Stop the service first. Vectors and texts need neither a rotation nor a query map: what is given up can be
    learned again with `funnel adapt`.

    [bold]funnel verify --data-dir ./data[/bold]
    [bold]funnel verify --forget-damaged[/bold]
    """
    from app.cli_directory import run_verify

    run_verify(data_dir, json, forget_damaged)


def repair(
    data_dir: Folder = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Mend a damaged directory, and name what is lost; exits with 1 if something is wrong still.

    Stop the service first. What is derived (graph, calibration, the table of metadata, the manifest) is made again.
    A single flipped bit in a vector, a text, metadata or the state is set back: checksums and hashes prove it. A
    vector that is damaged further is embedded again from its text, with the model of the settings. What is left over
    is written to lost-<time>.jsonl in the directory, which [bold]funnel ingest[/bold] takes, and leaves the index;
    the damaged documents file is kept beside the new one.

    [bold]funnel repair --dry-run[/bold]
    [bold]funnel repair --data-dir ./data --yes[/bold]
    [bold]FUNNEL_MODEL=none funnel repair[/bold]
    """
    from app.cli_connect import unlocked
    from app.cli_directory import STOP_FIRST
    from app.cli_output import progress_bar
    from app.settings import load_settings
    from index.repair import repair as mend
    from index.verify import verify as read

    settings = load_settings(**({} if data_dir is None else {"data_dir": data_dir}))
    with unlocked(STOP_FIRST), progress_bar() as bar:
        task = bar.add_task("reading", total=None)

        def agree(told: list[str]) -> bool:
            bar.stop()
            typer.echo("\n".join(told))
            return yes or typer.confirm("Go on?")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        told = mend(settings.data_dir, _embed(settings), agree, dry_run, show)
    if dry_run:
        typer.echo("\n".join(told) or "nothing to repair")
        return
    if not told:
        typer.echo(f"{settings.data_dir}: nothing to repair")
        return
    report = read(settings.data_dir)
    for check in report.checks:
        if not check.ok:
            typer.echo(f"{check.name}: {check.detail}. {check.advice}", err=True)
    typer.echo(f"{settings.data_dir}: {report.count:,} documents, " + ("all is well" if report.ok else "not yet"))
    if not report.ok:
        raise typer.Exit(1)


def _embed(settings: "Settings") -> "Embed | None":
    """Makes vectors of texts with the model of the settings, which is loaded when there is something to embed."""
    import numpy as np

    from app.embedder import load_embedder
    from app.settings import SettingsError
    from index.store import Store

    if settings.model == "none":
        return None

    def embed(texts: list[str]) -> np.ndarray:
        embedder, stored = load_embedder(settings), Store.stored_space(settings.data_dir)
        assert embedder is not None
        if stored is not None and (different := stored.differences(embedder.space)):
            raise SettingsError(
                f"FUNNEL_MODEL: the vectors to be made again are of another model: {'; '.join(different)}. Name that "
                "model, or repair with FUNNEL_MODEL=none, which saves their documents and takes them out"
            )
        return embedder.embed_documents(texts).vectors

    return embed

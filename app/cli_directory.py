"""The commands that own a directory while they run: serve, reindex, verify."""

from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.cli_connect import must_exist, unlocked
from app.cli_output import print_json, progress_bar
from app.settings import Settings, SettingsError, load_settings, store_options
from index.check import Report
from index.forgetting import forget_damaged
from index.readahead import read_ahead
from index.verify import verify

STOP_FIRST = "stop the service that has it first"


def run_server(**options: Any) -> None:
    """Serve with the settings, of which the options given replace some."""
    settings = _settings(**options)
    read_ahead(settings.data_dir)  # while the imports take their time
    from app.access import check_bind
    from app.access_keys import without_keys
    from app.main import create_app
    from app.serving import serve

    check_bind(settings)
    app, settings = create_app(settings), without_keys(settings)  # from here on nobody knows them
    serve(app, settings)


def run_reindex(data_dir: Path | None) -> None:
    """Embed everything again with the model of the settings."""
    from app.embedder import load_embedder
    from index.reindex import reindex

    settings = _settings(data_dir=data_dir)
    must_exist(settings.data_dir)
    embedder = load_embedder(settings)
    if embedder is None:
        raise SettingsError("FUNNEL_MODEL: reindex needs a model, got 'none'")
    with unlocked(STOP_FIRST), progress_bar() as bar:
        task = bar.add_task("embedding", total=None)
        try:
            number = reindex(
                settings.data_dir,
                embedder.space,
                lambda texts: embedder.embed_documents(texts).vectors,
                store_options(settings),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except KeyboardInterrupt:
            typer.echo("stopped; run it again to go on. The index is as it was.", err=True)
            raise typer.Exit(130) from None
    typer.echo(f"{number:,} documents are now indexed with {embedder.model_name}")


def run_verify(data_dir: Path | None, as_json: bool, forget: bool = False) -> None:
    """Check a directory, giving up damaged matrices before if asked to; exit code 1 when something is wrong."""
    settings = _settings(data_dir=data_dir)
    must_exist(settings.data_dir)
    if forget:
        with unlocked(STOP_FIRST):
            given_up = forget_damaged(settings.data_dir)
        names = " and ".join(name.replace("_", " ") for name in given_up)
        typer.echo(f"given up: {names}" if names else "nothing to give up: every matrix can be read", err=True)
    with unlocked(STOP_FIRST), progress_bar() as bar:
        task = bar.add_task("verifying", total=None)
        report = verify(settings.data_dir, progress=lambda done, total: bar.update(task, completed=done, total=total))
    print_json(_as_json(report)) if as_json else _print_report(report, settings)
    if not report.ok:
        raise typer.Exit(1)


def _settings(**options: Any) -> Settings:
    return load_settings(**{name: value for name, value in options.items() if value is not None})


def _as_json(report: Report) -> dict[str, Any]:
    checks = [
        {"name": check.name, "ok": check.ok, "detail": check.detail, "advice": "" if check.ok else check.advice}
        for check in report.checks
    ]
    return {"ok": report.ok, "count": report.count, "checks": checks}


def _print_report(report: Report, settings: Settings) -> None:
    table = Table("check", "result", "detail")
    for check in report.checks:
        table.add_row(check.name, "[green]ok[/green]" if check.ok else "[red]wrong[/red]", escape(check.detail))
    Console().print(table)
    for check in report.checks:
        if not check.ok:
            typer.echo(f"{check.name}: {check.detail}. {check.advice}", err=True)
    verdict = "all is well" if report.ok else "something is wrong"
    typer.echo(f"{settings.data_dir}: {report.count:,} documents, {verdict}")

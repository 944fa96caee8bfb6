"""`funnel evaluate`: a model at every width and through the funnel, on the user's own collections."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table as Shown

from app.cli_output import print_json, progress_bar
from app.evaluation import EvaluationSettings, Evaluator
from app.evaluation_data import read_all
from app.evaluation_report import write_folder
from app.evaluation_tables import Table, described, measured, models_of, overview, tables
from app.extras import extra_module
from app.plans import parse_plan
from app.subject import Embed, load_minilm, load_subjects
from index.errors import InvalidInput

EMBEDDED_AT_ONCE = 256
NEEDED = ("ir_measures", "scipy.stats", "bm25s", "matplotlib")


def run_evaluate(
    data: Sequence[Path],
    models: Sequence[str],
    out: Path | None,
    settings: EvaluationSettings,
    baselines: bool,
    as_json: bool,
) -> None:
    """Measure everything, print it, and write it to `out`."""
    for name in NEEDED:  # before the minutes of embedding
        extra_module(name, "evaluate")
    found = read_all(data)
    with progress_bar() as bar:
        subjects = load_subjects(models)
        compared = [load_minilm()] if baselines else []
        evaluator = Evaluator(subjects, compared, settings, _embedding(bar), bar.console.print, baselines)
        results = evaluator.everything(found)
    if out is not None:
        write_folder(out, results)
    print_json(results) if as_json else print_results(results)
    if out is not None:
        typer.echo(f"written to {out}: evaluation.md, evaluation.json, plots/", err=True)


def make_settings(
    widths: str | None, shortlists: str | None, stages: Sequence[str], queries: int | None, share: float
) -> EvaluationSettings:
    """Options as typed -> settings; InvalidInput says which one is wrong."""
    given = EvaluationSettings(queries=queries, wanted=share)
    return EvaluationSettings(
        widths=_numbers("--widths", widths, 1) or None,
        shortlists=_numbers("--shortlists", shortlists, 10) or given.shortlists,
        plans=tuple(parse_plan(text) for text in stages) or None,
        queries=given.queries,
        wanted=given.wanted,
    )


def print_results(results: dict[str, Any]) -> None:
    """All tables, for people."""
    console = Console()
    for model in models_of(results):
        console.print(_shown(overview(results, model)))
    for name, result in measured(results).items():
        console.rule(escape(f"{name}: {described(result)}"), align="left")
        for table, sentence in tables(result):
            console.print(_shown(table))
            if sentence is not None:
                console.print(escape(sentence), "\n")


def _numbers(option: str, text: str | None, least: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise InvalidInput(f"{option} takes whole numbers with commas, got {text!r}") from None
    if small := [number for number in numbers if number < least]:
        raise InvalidInput(f"{option} takes numbers of at least {least}, got {small[0]}")
    return numbers


def _shown(table: Table) -> Shown:
    shown = Shown(title=table.title, title_justify="left")
    for place, name in enumerate(table.head):
        shown.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown


def _embedding(bar: Progress) -> Any:
    """Vectors made now, with a bar."""

    def remember(key: str, role: str, texts: Sequence[str], embed: Embed) -> np.ndarray:
        task = bar.add_task(role, total=len(texts))
        parts = []
        for start in range(0, len(texts), EMBEDDED_AT_ONCE):
            parts.append(embed(texts[start : start + EMBEDDED_AT_ONCE]))
            bar.advance(task, len(parts[-1]))
        return np.concatenate(parts)

    return remember

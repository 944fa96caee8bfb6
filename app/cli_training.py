"""What `funnel train` does with its options: a bar, Ctrl-C, a table of widths at the end."""

import logging
import math
import shlex
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from app.cli_output import progress_bar
from app.train_settings import Shape, TrainError, TrainSettings

if TYPE_CHECKING:
    from app.train import Outcome

FEW = 100  # rows below which a score is mostly chance
EXTRA = "training needs {}, not installed here: pip install 'funnel-search[train]'"


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """`256,64` as numbers, () for nothing. Raises TrainError for anything else."""
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise TrainError(f"{option} takes numbers with commas, got {text!r}") from None


def score_range_of(text: str) -> tuple[float, float]:
    """`0,5` as low and high. Raises TrainError."""
    found = numbers(text, "--score-range")
    if len(found) != 2 or not found[0] < found[1]:
        raise TrainError(f"--score-range takes LOW,HIGH with LOW < HIGH, got {text!r}")
    return found[0], found[1]


def shape_of(two: bool, layers: bool, plain: bool) -> Shape:
    """The one of the three options that was given, else Matryoshka. Raises TrainError for several."""
    given: dict[Shape, bool] = {"2d": two, "layers": layers, "none": plain}
    chosen = [shape for shape, wanted in given.items() if wanted]
    if len(chosen) > 1:
        raise TrainError(f"--matryoshka-2d, --adaptive-layers, --no-matryoshka: give at most 1, got {len(chosen)}")
    return chosen[0] if chosen else "matryoshka"


def run_train(settings: TrainSettings) -> None:
    """Train and show the scores at every width; exit code 130 after Ctrl-C."""
    require_extra()
    from app.train import train

    logging.getLogger("transformers").setLevel(logging.ERROR)
    command = shlex.join(["funnel", *sys.argv[1:]])
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int, loss: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, completed=done)
            told = what if math.isnan(loss) else f"{what} (loss {loss:.3f})"
            bar.update(tasks[what], completed=done, description=told)

        outcome = train(settings, show, command)
    report(outcome)


def require_extra() -> None:
    """Raises TrainError when the packages of the trainer are not installed."""
    if missing := [name for name in ("accelerate", "datasets") if find_spec(name) is None]:
        raise TrainError(EXTRA.format(" and ".join(missing)))


def report(outcome: "Outcome") -> None:
    """What became of the training, for people."""
    if outcome.dropped:
        typer.echo(f"{outcome.dropped:,} rows were left out: a side was empty, or no negatives were found", err=True)
    if not outcome.finished:
        typer.echo(
            f"stopped after step {outcome.steps:,} of {outcome.of:,}; run the same command with --resume to go on",
            err=True,
        )
        raise typer.Exit(130)
    if outcome.after:
        Console().print(widths_table(outcome))
    if few := [f"{name}: {rows}" for name, rows in outcome.measured.items() if rows < FEW]:
        typer.echo(
            f"measured on few rows ({', '.join(few)}): the scores say little; see --held-out and --eval", err=True
        )
    typer.echo(f"written to {outcome.folder}; serve it with: FUNNEL_MODEL={outcome.folder} funnel serve")


def widths_table(outcome: "Outcome") -> Table:
    """One row a set and moment, one column a width."""
    table = Table("score", "", *map(str, outcome.widths))
    for name in outcome.after:
        for moment, scores in (("before", outcome.before), ("after", outcome.after)):
            if name in scores:
                table.add_row(name, moment, *(f"{scores[name][width]:.4f}" for width in outcome.widths))
    return table

#!/usr/bin/env python
"""Train the head of the bundled model from files of pairs, measure it at every width, write it with its model card.

The body (all-MiniLM-L6-v2) stays frozen. Its features are computed once and kept in --cache, so that trying other
settings takes minutes; computing them is the long part, about 100 documents a second on a core.

    scripts/train_matryoshka.py --data DATA --out app/bundled                     as the bundled head was made
    scripts/train_matryoshka.py --data DATA --leave-out squad-train               a setting, judged on an unseen set
    scripts/train_matryoshka.py --data DATA --loss both --contrast 0.1            with MatryoshkaLoss beside it
    scripts/train_matryoshka.py --data DATA --measure-only --out app/bundled      only measure a head that is there

    scripts/train_matryoshka.py model BASE --data FILE --out FOLDER               any other model: as `funnel train`

DATA holds a folder for every set: `pairs.jsonl.gz` with {"anchor", "positive", "negative"?} for training, or
`corpus.jsonl.gz` with `queries.jsonl.gz` and `qrels.tsv` for measuring; a corpus alone is measured as a known-item
test (its titles search its texts). Choose settings with --leave-out, never on the collections.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.bundle import BUNDLED
from app.cli import main as funnel
from app.training import HeadSettings
from app.workshop import Scores, Workshop, WorkshopSettings

DEFAULTS = HeadSettings()
FEATURES = WorkshopSettings()


def main(
    data: Annotated[Path, typer.Option(help="Folder with a folder for every set of pairs and every collection.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the head; nothing is written without it.")] = None,
    cache: Annotated[Path, typer.Option(help="Where features are kept between runs.")] = Path(".cache/features"),
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Train without this set, measure on it. Repeatable.")
    ] = None,
    measure: Annotated[list[str] | None, typer.Option(help="Collections to measure on; all that are found.")] = None,
    measure_only: Annotated[bool, typer.Option(help="Do not train: measure the head in --out.")] = False,
    pairs: Annotated[int, typer.Option(help="At most this many pairs of a set, drawn at random.", min=2)] = 7000,
    loss: Annotated[
        Literal["distil", "matryoshka", "both"],
        typer.Option(help="distil: prefixes rank as the full vectors; matryoshka: positives first at every width."),
    ] = DEFAULTS.loss,
    dims: Annotated[str, typer.Option(help="Widths to train, with commas.")] = ",".join(map(str, DEFAULTS.dims)),
    steps: Annotated[int, typer.Option(min=1)] = DEFAULTS.steps,
    batch: Annotated[int, typer.Option(help="Pairs in a step.", min=2)] = DEFAULTS.batch,
    learning_rate: float = DEFAULTS.learning_rate,
    temperature: Annotated[float, typer.Option(help="Of the softmaxes of distil.")] = DEFAULTS.temperature,
    contrast: Annotated[float, typer.Option(help="Weight of matryoshka in both.")] = DEFAULTS.contrast,
    neighbours: Annotated[int, typer.Option(help="Near pairs drawn with every pair.", min=0)] = DEFAULTS.neighbours,
    power: Annotated[float, typer.Option(help="A word weighs IDF to this power.")] = FEATURES.power,
    saturation: Annotated[float, typer.Option(help="k of BM25: repeated words add less.", min=0)] = FEATURES.saturation,
    kinds: Annotated[int, typer.Option(help="Lexical numbers for what words are like.", min=1)] = FEATURES.kinds,
    kinship: Annotated[float, typer.Option(help="What these count beside the 1 of the others.")] = FEATURES.kinship,
    share: Annotated[
        float, typer.Option(help="The lexical half's part of the cosine.", min=0, max=0.99)
    ] = FEATURES.share,
    max_tokens: Annotated[int, typer.Option(help="Tokens of a text that are read.", min=3, max=512)] = 256,
    seed: int = DEFAULTS.seed,
) -> None:
    """Train the head of the bundled model and measure it at every width."""
    widths = tuple(sorted({int(width) for width in dims.split(",")}, reverse=True))
    head = HeadSettings(
        dims=widths, loss=loss, steps=steps, batch=batch, neighbours=neighbours, learning_rate=learning_rate,
        temperature=temperature, contrast=contrast, seed=seed,
    )  # fmt: skip
    features = WorkshopSettings(pairs, power, saturation, kinds, kinship, share, max_tokens, tuple(leave_out or ()))
    workshop = Workshop(data, cache, features, head)
    console = Console()
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        if measure_only:
            workshop.load(out or BUNDLED)
        else:
            workshop.train(report)
        scores = workshop.measure(measure, report)
    console.print(as_table(scores))
    if out is not None and not measure_only:
        workshop.write(out, scores)
        console.print(f"written to {out}")


def as_table(scores: Scores) -> Table:
    """nDCG@10 by collection and width."""
    widths = sorted({width for by_width in scores.values() for width in by_width}, reverse=True)
    table = Table("nDCG@10", *map(str, widths))
    for name, by_width in scores.items():
        table.add_row(name, *(f"{by_width[width]['ndcg@10']:.3f}" for width in widths))
    return table


if __name__ == "__main__":
    if sys.argv[1:2] == ["model"]:  # the body or a head of any base, by the code of `funnel train`
        sys.argv[:2] = ["funnel", "train"]
        funnel()
    else:
        typer.run(main)

#!/usr/bin/env python3
"""Evaluate models at every width and through the funnel, and store the results with their origin."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from harness import cached, console, origin, store_results

from app.bottleneck import WANTED
from app.cli_evaluate import Model, Stages
from app.cli_evaluation import make_settings, print_results
from app.cli_options import expected_errors
from app.evaluation import Evaluator
from app.evaluation_data import read_all
from app.subject import load_minilm, load_subjects

MEASURING = ("bm25s", "ir-measures", "scipy")


def main(
    data: Annotated[list[Path], typer.Argument(help="Folders of collections, or files of scored pairs.")],
    model: Model = None,
    out: Annotated[Path | None, typer.Option(help="Store the results as JSON.")] = None,
    queries: Annotated[int | None, typer.Option(min=2, help="At most so many queries or pairs.")] = None,
    widths: Annotated[str | None, typer.Option(help="Dimensions to cut to, with commas.")] = None,
    shortlists: Annotated[str | None, typer.Option(help="Points of the funnel's curve, with commas.")] = None,
    stages: Stages = None,
    share: Annotated[float, typer.Option(min=0.01, max=1, help="Share that a width has to keep.")] = WANTED,
    no_baselines: Annotated[bool, typer.Option("--no-baselines", help="Leave out all-MiniLM-L6-v2 and BM25.")] = False,
) -> None:
    """Evaluate models at every width and through the funnel, and store the results with their origin.

    The same as `funnel evaluate`, whose --help says more, with vectors kept under .cache/vectors: a second run
    embeds nothing. scripts/figures.py makes docs/evaluation*.md and docs/figures.md from what is stored.

    ./scripts/evaluate_dimensions.py DATA/cranfield DATA/stsb --out docs/results/evaluation.json

    ./scripts/evaluate_dimensions.py DATA/squad-dev --queries 1000 --no-baselines

    ./scripts/evaluate_dimensions.py DATA/stsb -m ./mpnet-mrl -m ./mpnet --out docs/results/evaluation-mpnet.json
    """
    settings = make_settings(widths, shortlists, stages or [], queries, share)
    found = read_all(data)
    subjects = load_subjects(model or [])
    compared = [] if no_baselines else [load_minilm()]
    evaluator = Evaluator(subjects, compared, settings, cached, console.print, not no_baselines)
    results = evaluator.everything(found)
    print_results(results)
    versions = origin()["versions"] | {name: version(name) for name in MEASURING}
    store_results(out, {"versions": versions, **results})


if __name__ == "__main__":
    try:
        typer.run(main)
    except expected_errors() as error:
        raise SystemExit(f"error: {error}") from None

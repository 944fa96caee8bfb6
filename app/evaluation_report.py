"""An evaluation as a folder to keep: evaluation.json, evaluation.md, and plots/ as SVG and PNG."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.evaluation_tables import Table, described, measured, models_of, overview, tables
from app.plots import write_plots

Json = Mapping[str, Any]
NOTES = """Values stand with their 95 % interval: bootstrap over queries (or pairs), {resamples:,} draws, percentiles.
**recall@10 of exact** is the overlap with an exact search of the full vectors, **recall@10 of judged** the share of
the relevant documents that is found. A width is a prefix of the vector, cut and normalised again; * marks one that the
model was not trained for. Going down from the full width, quality *breaks* at the first width whose whole interval of
the share of full quality lies below {wanted:.0f} %; the width above it is the **information bottleneck**. *Lost per
halving* is the share that the step from the next wider width costs, divided by its halvings. The funnel's figures are
answers of a store on disk; stages are dimensions:kept."""


def write_folder(folder: Path, results: Json) -> None:
    """JSON, Markdown and plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(results, indent=1) + "\n")
    write_page(folder, "# Evaluation\n", results)


def write_page(folder: Path, head: str, results: Json, name: str = "evaluation") -> None:
    """`name`.md and the plots that it shows; those of another name lie in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = Path("plots") if name == "evaluation" else Path("plots") / name
    (folder / f"{name}.md").write_text("\n".join([head, *sections(folder, plots, results)]).rstrip() + "\n")


def sections(folder: Path, plots: Path, results: Json) -> Iterator[str]:
    """The Markdown of all that was measured; draws the plots on the way."""
    settings = results["settings"]
    yield NOTES.format(resamples=settings["resamples"], wanted=100 * settings["wanted_share"])
    yield "\n## Overview\n"
    for model in models_of(results):
        yield from markdown(overview(results, model))
    for name, result in measured(results).items():
        yield f"## {name}\n\n{described(result)}.\n"
        yield from (f"![{plot}]({plots}/{plot}.svg)\n" for plot in write_plots(folder / plots, name, result))
        for table, sentence in tables(result):
            yield from markdown(table)
            if sentence is not None:
                yield f"{sentence}\n"


def markdown(table: Table) -> Iterator[str]:
    """A table under its title; numbers to the right."""
    yield f"**{table.title}**\n"
    yield "| " + " | ".join(table.head) + " |"
    yield "|---|" + "---:|" * (len(table.head) - 1)
    yield from ("| " + " | ".join(row) + " |" for row in table.rows)
    yield ""

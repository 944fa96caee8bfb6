"""What `funnel adapt` does: learn a rotation from stored vectors, measure it, apply it if it helps; or undo it."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from app.adapting import WANTED, Comparison, Report, check_size, compare, split
from app.cli_adapt_pairs import run_adapt_pairs, run_undo_pairs
from app.cli_connect import connect
from app.cli_learning import AdaptOptions, embedded, mapped, steps
from app.cli_output import print_json, stopping
from app.client import Client, ProblemError
from app.query_texts import read_queries
from app.rotating import RotationSettings, default_widths
from app.shortlists import needed

BUSY = "/problems/maintenance-busy"
PAUSE = 0.1  # seconds between two tries while a rotation is being given up
SAMPLE_BYTES = 512 << 20  # what a service hands out at most
NAMES = {"before": "before", "pca": "PCA", "learned": "learned"}
UNDO = "funnel adapt --undo"


def run(url: str | None, data_dir: Path | None, options: AdaptOptions, undo: bool, undo_pairs: bool) -> None:
    """The command: what its options ask for. Raises typer.BadParameter for options that exclude each other."""
    if sum((undo, undo_pairs, options.pairs is not None)) > 1:
        raise typer.BadParameter("give one of --pairs, --undo and --undo-pairs")
    if options.pairs is not None and (options.queries is not None or options.pca):
        raise typer.BadParameter("--pairs measures on pairs held out; leave out --queries and --pca")
    if undo:
        run_undo(url, data_dir)
    elif undo_pairs:
        run_undo_pairs(url, data_dir)
    elif options.pairs is not None:
        run_adapt_pairs(url, data_dir, options.pairs, options)
    else:
        run_adapt(url, data_dir, options)


def run_adapt(url: str | None, data_dir: Path | None, options: AdaptOptions) -> None:
    """Learn, measure, and apply what helps; exit code 1 when it does not help, 130 after Ctrl-C."""
    texts = read_queries(options.queries, options.seed) if options.queries else None
    with stopping(), connect(url, data_dir, model=texts is not None) as client, steps() as report:
        comparison = learned(client, options, texts, report)
        applied = _apply(client, comparison, report) if _wanted(comparison, options) else None
        count = int(client.count())
    if options.as_json:
        print_json({**comparison.report, "applied": applied})
    else:
        Console().print(as_table(comparison))
        typer.echo(sentence(comparison, count, applied, options.dry_run))
    if applied is None and not options.dry_run:
        raise typer.Exit(1)


def run_undo(url: str | None, data_dir: Path | None) -> None:
    """Take the rotation away."""
    with stopping(), connect(url, data_dir, model=False) as client:
        if client.rotation()["rotation"] is None:
            typer.echo("there is no rotation to undo")
            return
        with steps() as report:
            client.remove_rotation(lambda done, total: report("undoing", done, total))
    typer.echo("the rotation is undone: prefixes are the first numbers of the vectors again")


def learned(client: Client, options: AdaptOptions, texts: list[str] | None, report: Report) -> Comparison:
    """Candidates from a sample of the index, measured; InvalidInput where there is too little of anything."""
    about, count = client.info(), client.count()
    dim, prefix_dim = int(about["dim"]), int(about["prefix_dim"])
    check_size(count, dim, prefix_dim)
    report("sampling", 0, 1)
    sample = client.sample_vectors(min(options.sample, SAMPLE_BYTES // (4 * dim)), options.seed)
    report("sampling", 1, 1)
    queries = None if texts is None else mapped(client, embedded(client, texts, report))
    material = split(sample, options.seed, queries, options.queries or "documents")
    settings = RotationSettings(default_widths(dim, prefix_dim), seed=options.seed)
    if options.steps:
        settings = replace(settings, steps=options.steps)
    return compare(material, prefix_dim, client.rotation_matrix(), settings, options.pca, report)


def _wanted(comparison: Comparison, options: AdaptOptions) -> bool:
    return not options.dry_run and (comparison.helps or options.force)


def _apply(client: Client, comparison: Comparison, report: Report) -> dict[str, Any]:
    """Put the best candidate in force: documents and seconds."""
    best, started = comparison.best, time.perf_counter()
    if best.matrix is None:
        raise AssertionError("the best candidate is always a rotation")
    widths = sorted(best.energy, reverse=True)
    before, matrix = client.rotation()["rotation"], comparison.before.matrix
    try:
        answer = client.rotate(best.matrix, widths, best.name, comparison.report, partial(report, "applying"))
    except KeyboardInterrupt:
        put_back(client, before, matrix)
        raise
    report("applying", answer["rotation"]["rows"], answer["rotation"]["rows"])
    took = time.perf_counter() - started
    return {"method": best.name, "documents": answer["rotation"]["rows"], "seconds": round(took, 3)}


def put_back(client: Client, before: dict[str, Any] | None, matrix: np.ndarray | None) -> None:
    """Restore what was in force. A service that notices too late that nobody waits has applied the new rotation."""
    while True:
        try:
            if before is None or matrix is None:
                client.remove_rotation()
            else:
                client.rotate(matrix, before["widths"], before["method"], before["measured"])
            return
        except ProblemError as problem:
            if problem.type != BUSY:
                raise
        time.sleep(PAUSE)


def as_table(comparison: Comparison) -> Table:
    """Recall by shortlist, shortlists needed and energy, a column for each candidate; without rows of nothing but 1."""
    material, candidates = comparison.material, (comparison.before, *comparison.others)
    title = (
        f"first {comparison.prefix_dim} numbers; {len(material.queries):,} queries ({material.asked}), "
        f"{len(material.documents):,} documents; 95 % intervals"
    )
    table = Table("", *(NAMES[one.name] for one in candidates), title=title, title_justify="left")
    columns = [_cells(comparison.report["candidates"][one.name]) for one in candidates]
    for name in (name for name in columns[0] if any(not column[name].startswith("1.000") for column in columns)):
        table.add_row(name, *(column[name] for column in columns))
    return table


def _cells(found: dict[str, Any]) -> dict[str, str]:
    """Row name -> cell, of what was measured of a candidate."""
    cells = {
        f"recall@10 in {int(length):,}": f"{one['value']:.3f} ({one['low']:.3f}-{one['high']:.3f})"
        for length, one in found["recall@10"].items()
    }
    for wanted, one in found["shortlist"].items():
        cells[f"shortlist for {wanted}"] = f"{one['value']:,.0f} ({one['low']:,.0f}-{one['high']:,.0f})"
    return cells | {f"energy in {width}": f"{share:.1%}" for width, share in found["energy"].items()}


def sentence(comparison: Comparison, count: int, applied: dict[str, Any] | None, dry_run: bool) -> str:
    """What came of it, plainly."""
    before, best = (needed(one.places, WANTED[0]) for one in (comparison.before, comparison.best))
    documents = len(comparison.material.documents)
    where = "" if documents >= count else f" among {documents:,} of {count:,} documents"
    moved = f"from {before:,} to {best:,}{where}"
    gain, at = comparison.gain, comparison.shortlist
    doubt = (
        f"at shortlist {at} recall@10 changes by {gain.value:+.4f} (95 % interval {gain.low:+.4f} to {gain.high:+.4f})"
    )
    if applied is not None:
        done = f"applied to {applied['documents']:,} documents in {applied['seconds']:.1f} s"
        return f"The shortlist for recall@10 of {WANTED[0]} goes {moved}; {done}; undo: {UNDO}"
    if dry_run:
        verdict = "it would be applied" if comparison.helps else "it would not be applied"
        return f"The shortlist for recall@10 of {WANTED[0]} would go {moved}; {doubt}: {verdict}. Nothing was changed."
    return f"Not applied: {doubt}, which is no sure gain. Nothing was changed; --force applies it all the same."

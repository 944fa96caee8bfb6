"""`funnel adapt --pairs`: learn a map of the queries from labelled pairs, show what it brings, ask, set it."""

from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from app.adapting import Report
from app.adapting_pairs import FEWEST, MOST, MapComparison, compare_maps
from app.cli_connect import connect
from app.cli_learning import AdaptOptions, embedded, steps
from app.cli_output import print_json, stopping
from app.client import Client
from app.intervals import means
from app.labelled import TITLES, Labelled, drawn, read_labelled, titled
from app.query_maps import QueryMapSettings, VectorPairs
from app.rotating import default_widths
from index.errors import InvalidInput

SAMPLE = 20_000  # documents that are searched besides those of the pairs
UNDO = "funnel adapt --undo-pairs"


def run_adapt_pairs(url: str | None, data_dir: Path | None, source: str, options: AdaptOptions) -> None:
    """Learn, measure, ask, set; exit code 1 when it does not help or is declined, 130 after Ctrl-C."""
    pairs = None if source == TITLES else enough(read_labelled(source))
    with stopping(), connect(url, data_dir) as client:
        with steps() as report:
            comparison = learned_map(client, pairs, options, report)
        measured = comparison.to_json()
        if not options.as_json:
            Console().print(as_table(comparison))
        wanted = _wanted(comparison, options)
        if wanted:
            client.set_query_map(comparison.matrix, measured)
    if options.as_json:
        print_json({**measured, "applied": wanted})
    else:
        typer.echo(verdict(comparison, wanted, options.dry_run))
    if not wanted and not options.dry_run:
        raise typer.Exit(1)


def run_undo_pairs(url: str | None, data_dir: Path | None) -> None:
    """Take the query map away."""
    with stopping(), connect(url, data_dir, model=False) as client:
        had = client.rotation()["query_map"] is not None
        client.remove_query_map()
    typer.echo("the query map is removed: scores are those of the model again" if had else "there is no query map")


def learned_map(client: Client, pairs: list[Labelled] | None, options: AdaptOptions, report: Report) -> MapComparison:
    """A map from pairs (None: the titles of the stored documents), measured; InvalidInput for too few pairs."""
    about = client.info()
    if pairs is None:
        report("reading titles", 0, 1)
        pairs = enough(titled(client.scroll(page=min(1_000, about["limits"]["max_limit"]))))
        report("reading titles", 1, 1)
    vectors = _vectors(client, drawn(pairs, MOST, options.seed), report)
    dim, prefix_dim = int(about["dim"]), int(about["prefix_dim"])
    settings = QueryMapSettings(default_widths(dim, prefix_dim), seed=options.seed)
    if options.steps:
        settings = QueryMapSettings(settings.widths, options.steps, seed=options.seed)
    sample = client.sample_vectors(min(SAMPLE, options.sample), options.seed)
    return compare_maps(vectors, sample, settings, client.rotation_matrix(), client.query_map_matrix(), report)


def enough(pairs: list[Labelled]) -> list[Labelled]:
    """The pairs; InvalidInput, with both numbers, where they are too few."""
    if len(pairs) < FEWEST:
        raise InvalidInput(f"a query map is learned from at least {FEWEST} pairs, there are {len(pairs)}")
    return pairs


def _vectors(client: Client, pairs: list[Labelled], report: Report) -> VectorPairs:
    """Queries and texts embedded, stored documents read; each of them once."""
    asked = {query: row for row, query in enumerate(dict.fromkeys(pair.query for pair in pairs))}
    queries = embedded(client, list(asked), report)[[asked[pair.query] for pair in pairs]]
    texts = list(dict.fromkeys(pair.text for pair in pairs if pair.text is not None))
    names = list(dict.fromkeys(pair.id for pair in pairs if pair.id is not None))
    blocks = [embedded(client, texts, report, "document")] if texts else []
    blocks += [_stored(client, names, report)] if names else []
    by_text = {text: row for row, text in enumerate(texts)}
    by_name = {name: len(texts) + row for row, name in enumerate(names)}
    answers = [by_text[pair.text] if pair.text is not None else by_name[str(pair.id)] for pair in pairs]
    return VectorPairs(queries, np.concatenate(blocks), np.array(answers))


def _stored(client: Client, names: list[str], report: Report) -> np.ndarray:
    """(n, dim) vectors of stored documents; ProblemError (404) for an id that is not stored."""
    rows = []
    for name in names:
        rows.append(np.array(client.get(name, with_vector=True)["vector"], dtype=np.float32))
        if len(rows) % 100 == 0 or len(rows) == len(names):
            report("reading vectors", len(rows), len(names))
    return np.stack(rows)


def _wanted(comparison: MapComparison, options: AdaptOptions) -> bool:
    if options.dry_run or not (comparison.helps or options.force):
        return False
    return options.yes or typer.confirm(
        "The scores of all searches by text or vector will change. Set the map?", err=True
    )


def as_table(comparison: MapComparison) -> Table:
    """nDCG@10 by width before and after."""
    queries = comparison.before.shape[1]
    title = f"nDCG@10; {queries:,} held-out queries, {comparison.documents:,} documents; 95 % intervals"
    table = Table("width", "before", "after", "gain", title=title, title_justify="left")
    rows = zip(comparison.widths, means(comparison.before), means(comparison.after), comparison.gains, strict=True)
    for width, *estimates in rows:
        before, after, gain = (f"{one.value:.4f}  ({one.low:.4f} to {one.high:.4f})" for one in estimates)
        table.add_row(f"{width}", before, after, gain)
    return table


def verdict(comparison: MapComparison, applied: bool, dry_run: bool) -> str:
    """What came of it, plainly."""
    gain = comparison.gains[0]
    change = f"nDCG@10 at full width changes by {gain.value:+.4f} (95 % interval {gain.low:+.4f} to {gain.high:+.4f})"
    if applied:
        return f"{change}; the map is in force for new queries; undo: {UNDO}"
    if dry_run:
        return f"{change}. Nothing was changed."
    reason = "it was declined" if comparison.helps else "no sure gain; --force sets it all the same"
    return f"Not set: {change}: {reason}. Nothing was changed."

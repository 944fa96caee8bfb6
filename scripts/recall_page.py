"""docs/recall.md and its plots, from docs/results/recall-*.json."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recall_plot import merged, plot, plot_name

PAGE, RESULTS = Path("docs/recall.md"), Path("docs/results")
Json = Mapping[str, Any]
ORDER = ("debian-packages bundled", "all bundled", "squad-dev bundled", "debian-packages minilm")
NAMES = {"bundled": "the bundled model", "minilm": "all-MiniLM-L6-v2 as it is (no trained prefix)"}
HEAD = """# Recall you can see and ask for

Written by `scripts/evaluate_recall.py --page` from `docs/results/recall-*.json`; do not edit.

`"target_recall": 0.98` in a search asks for 98 % of what exact search would return, on average, at the least work:

```sh
curl -s http://127.0.0.1:8000/search -H 'content-type: application/json' \\
     -d '{"query": "parse a date from text", "target_recall": 0.98}'
```

Every answer carries `recall_estimate`, `recall_lower_90` (nine of ten answers reach it) and `certified` (proved to be
exact). `funnel recall` measures the curve of an index and calibrates it; a service calibrates itself once it holds
enough documents.

## How it works

1. **A descent.** A search goes down the order of the prefixes and reranks with full vectors as it goes. It may stop at
   8, 16, 32, 64, 96, 128, ... rows, but each look at whether it should costs as much as reranking 100 rows in memory:
   every target has a length of its own before which there is no look, learned from the calibration's queries.
2. **The order corrects itself** where vectors have to be read from the disk. A query's prefix knows nothing of its
   other 704 numbers, but the full scores of the rows reranked so far tell which directions of the 64 go with high
   scores near this query. After 64, 256, 1,024, ... rows a ridge regression of full scores on prefixes, shrunk towards
   the query's own prefix, reorders what is left. That saves a third of the rows and costs the time of a thousand that
   are in memory: a calibration looks where the vectors are. Scores and exact results know nothing of it.
3. **Signs.** Ten numbers describe the shortlist: how far the k-th score lies above what the next row is expected to
   score (in standard deviations of the residuals), where in the order the top k sit, how the scores fall. A Poisson
   regression turns them into the share of the top k that is still missing.
4. **One threshold.** The descent stops when that share, divided by the rows scored, falls to a threshold: for a given
   mean recall the mean work is least when every query stops at the same marginal gain. The threshold, and nothing else,
   is calibrated on queries that the regression did not see, by conformal risk control (Angelopoulos et al. 2022): the
   expected recall of a new query from the same source is at least the target. `"confidence": 0.95` bounds the mean with
   that probability instead (empirical Bernstein, Maurer and Pontil 2009), at more work.
5. **Buckets.** There is a threshold for k = 1, 3, 10, 30, 100 and for filters that let 100 %, 10 %, 1 % and 0.1 % pass;
   the nearest is used. Beyond k = 177 a target is met by an exact search. What would rerank more than a third of the
   rows is scanned.

The guarantee holds for queries like those of the calibration: your file, or live queries. Titles and stored documents
are no such sample, and the calibration says so (`guaranteed: false`). Stored documents that stand in for queries are
easier than people's queries; a loss l that they had is taken for l^(1/1.15), which was measured on one collection
(Debian) and misses by up to 2.6 points on another (squad-dev): see *on documents* below.

A service calibrates itself when it holds 5,000 documents, and again when half of them are new or gone, when the
prefix, a rotation or the kind of first stage changed, or when live recall falls below what was promised. Where writing
never stops, a reason waits at most ten minutes; where recall falls again after a calibration, the pause doubles, up to
a day. After `funnel recall --forget` nothing is calibrated until somebody asks.

## What was measured

*recall*: share of the exact top k found, mean over queries that no calibration saw, with its 95 % error. *on
documents*: the same when the calibration saw stored documents (each leaving itself out) instead of queries. *coverage*:
share of the answers whose recall reached their lower bound, which promises 90 %. *rows*: mean rows reranked. *best
fixed*: the shortlist that gives the same mean recall on these very queries, which nobody could know beforehand. *µs*:
processor time of the whole search in the index, 400 queries in turns with the fixed shortlist, everything in memory.

"""
WITHIN = -0.01, 0.02  # of the target


def write() -> None:
    """Write the page and its plots."""
    results = sorted(map(_read, RESULTS.glob("recall-*.json")), key=lambda one: ORDER.index(_key(one)))
    PAGE.write_text(HEAD + "\n".join(line for one in results for line in section(one)))
    for one in results:
        plot(one)


def section(result: Json) -> Iterator[str]:
    """Everything measured of one collection and model."""
    yield f"## {result['collection']}, {NAMES[result['model']]}\n"
    first = {"flat": "all prefixes are scanned", "hnsw": "a graph"}[result.get("first_stage", "flat")]
    yield (
        f"{result['documents']:,} documents of {result['dim']} numbers, prefix {result['prefix_dim']}, first stage: "
        f"{first}. {result['calibration_queries']:,} queries calibrated, {result['test_queries']:,} others asked.\n"
    )
    for name, part in (("targets", targets), ("doubled", doubled), ("filters", filters)):
        if name in result or (name == "targets" and "queries" in result):
            yield from part(result)
    if "certificates" in result:
        yield from certificates(result["certificates"])
    if "cascades" in result:
        yield from cascades(result["cascades"])
    yield "```sh"
    yield from dict.fromkeys(f"{one['command']}    # commit {one['commit']}" for one in result["made"].values())
    yield f"```\n\n{result['machine']}.\n"


def targets(result: Json) -> Iterator[str]:
    """Achieved recall, estimates and cost."""
    yield "| k | target | recall | on documents | estimate | coverage | rows | best fixed | ratio | µs | fixed µs |"
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for one, other in zip(result["queries"]["targets"], result["stored"]["targets"], strict=True):
        ratio = one["fixed"] / one["rows"]
        yield (
            f"| {one['k']} | {one['target']:.2f} | {one['recall']:.3f} ±{one['error']:.3f} | {other['recall']:.3f} "
            f"| {one['estimate']:.3f} | {one['coverage']:.1%} | {one['rows']:,.0f} | {one['fixed']:,} | {ratio:.1f} "
            f"| {_number(one.get('microseconds'))} | {_number(one.get('fixed_microseconds'))} |"
        )
    yield ""
    yield from summary(result)
    name = plot_name(result)
    yield f"![targets and estimates](plots/{name}.svg)\n\nSame plot as PNG: [plots/{name}.png](plots/{name}.png)\n"


def summary(result: Json) -> Iterator[str]:
    """What the table comes to, in sentences."""
    mine, stored = result["queries"]["targets"], result["stored"]["targets"]
    met = sum(_met(one) for one in mine)
    error = 100 * np.mean([abs(one["estimate"] - one["recall"]) for one in mine])
    single = 100 * np.mean([one["absolute_error"] for one in mine])
    coverage = [one["coverage"] for one in mine]
    ratio = np.exp(np.mean([np.log(one["fixed"] / one["rows"]) for one in mine]))
    yield f"- {met} of {len(mine)} targets within 1 point below and 2 above, or at the shortest length: {_gaps(mine)}."
    yield f"- Calibrated on stored documents instead of queries: {_gaps(stored)}."
    yield (
        f"- Mean |estimate - recall|: {error:.2f} points over the rows of the table, {100 * reliability(mine):.2f} "
        f"over bins of like estimates, {single:.1f} over single answers."
    )
    yield f"- The lower bound holds for {np.mean(coverage):.1%} of the answers, at worst {min(coverage):.1%} in a row."
    yield f"- The best fixed shortlist of the same recall is {ratio:.1f} times as long (geometric mean).\n"


def _met(one: Json) -> bool:
    shortest = one["rows"] <= 1.5 * max(8, one["k"])
    return bool(WITHIN[0] <= one["recall"] - one["target"] <= WITHIN[1] or (shortest and one["recall"] > one["target"]))


def _gaps(records: Sequence[Json]) -> str:
    gaps = [one["recall"] - one["target"] for one in records]
    return f"recall minus target {100 * min(gaps):+.1f} to {100 * max(gaps):+.1f} points"


def reliability(records: Sequence[Json]) -> float:
    """Mean |estimate - recall| over bins of all records, weighted by queries (expected calibration error)."""
    bins = np.array([row for one in records for row in one["bins"]])
    found = merged(bins)
    return float(np.average(np.abs(found[:, 0] - found[:, 1]), weights=found[:, 2]))


def doubled(result: Json) -> Iterator[str]:
    """Before and after as many other documents came."""
    told = result["doubled"]
    yield f"**Doubled** by {told['added']:,} documents of other kinds. `/stats` then says of the calibration:"
    yield f"*{told['outdated']}*.\n"
    yield "| k | target | before: recall | rows | after: recall | estimate | rows | calibrated again: recall | rows |"
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for one, two, three in zip(told["before"], told["after"], told["recalibrated"], strict=True):
        yield (
            f"| {one['k']} | {one['target']:.2f} | {one['recall']:.3f} | {one['rows']:,.0f} | {two['recall']:.3f} "
            f"| {two['estimate']:.3f} | {two['rows']:,.0f} | {three['recall']:.3f} | {three['rows']:,.0f} |"
        )
    yield ""


def filters(result: Json) -> Iterator[str]:
    """Targets among what a filter lets pass."""
    yield "**Under filters** (calibrated without the filter's documents being known):\n"
    yield "| filter | documents | k | target | recall | estimate | rows | exact |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for told in result["filters"]:
        for one in told["targets"]:
            yield (
                f"| {told['filter']} | {told['matching']:,} | {one['k']} | {one['target']:.2f} | {one['recall']:.3f} "
                f"±{one['error']:.3f} | {one['estimate']:.3f} | {one['rows']:,.0f} | {one['exact']:.0%} |"
            )
    yield ""


def certificates(records: Sequence[Json]) -> Iterator[str]:
    """How often an answer is proved."""
    columns = [name for name in records[0] if name.startswith("k=")]
    yield "**Certificates**: share of the queries whose answer is proved to be exact.\n"
    yield "| rotation | width | " + " | ".join(columns) + " |"
    yield "|---|--:|" + "--:|" * len(columns)
    for one in records:
        yield f"| {one['rotation']} | {one['width']} | " + " | ".join(f"{one[name]:.1%}" for name in columns) + " |"
    yield ""


def cascades(records: Sequence[Json]) -> Iterator[str]:
    """Plans at the same shortlists."""
    plans = list(dict.fromkeys(one["plan"] for one in records))
    yield "**Cascades** (k = 10): recall, full vectors' worth of numbers read, microseconds of the rerank.\n"
    yield "| shortlist | " + " | ".join(plans) + " |"
    yield "|--:|" + "---|" * len(plans)
    for length in dict.fromkeys(one["shortlist"] for one in records):
        row = {one["plan"]: one for one in records if one["shortlist"] == length}
        yield f"| {length:,} | " + " | ".join(_plan_cell(row[plan]) for plan in plans) + " |"
    yield ""


def _read(path: Path) -> Json:
    found: Json = json.loads(path.read_text())
    return found


def _key(result: Json) -> str:
    return f"{result['collection']} {result['model']}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def _plan_cell(one: Json) -> str:
    told = [f"{one['recall']:.4f}" if "recall" in one else "", f"{one['read']:,.0f} read"]
    told.append(f"{one['rerank_us']:,} µs" if "rerank_us" in one else "")
    return ", ".join(filter(None, told))

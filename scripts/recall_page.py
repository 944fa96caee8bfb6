"""docs/recall.md and its plots, from docs/results/recall-*.json."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from app.plots import COLOURS, DPI, MARKERS, NO_DATE, STYLE

PAGE, RESULTS, PLOTS, HEAD = (
    Path("docs/recall.md"),
    Path("docs/results"),
    Path("docs/plots"),
    Path("docs/recall.head.md"),
)
Json = Mapping[str, Any]
ORDER = ("debian-packages bundled", "all bundled", "squad-dev bundled", "debian-packages minilm")
NAMES = {"bundled": "the bundled model", "minilm": "all-MiniLM-L6-v2 as it is (no trained prefix)"}
WITHIN = -0.01, 0.02  # of the target


def write() -> None:
    """Write the page and its plots."""
    results = sorted(map(_read, RESULTS.glob("recall-*.json")), key=lambda one: ORDER.index(_key(one)))
    PAGE.write_text(HEAD.read_text() + "\n" + "\n".join(line for one in results for line in section(one)))
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
    yield f"```sh\n{result['command']}\n```\n\nCommit {result['commit']}, {result['machine']}.\n"


def targets(result: Json) -> Iterator[str]:
    """Achieved recall, estimates and cost."""
    yield "| k | target | recall | on documents | estimate | coverage | rows | best fixed | ratio | µs | fixed µs |"
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for one, other in zip(result["queries"]["targets"], result["stored"]["targets"], strict=True):
        ratio = one["fixed"] / one["rows"]
        yield (
            f"| {one['k']} | {one['target']:.2f} | {one['recall']:.3f} ±{one['error']:.3f} | {other['recall']:.3f} "
            f"| {one['estimate']:.3f} | {one['coverage']:.1%} | {one['rows']:,.0f} | {one['fixed']:,} | {ratio:.1f} "
            f"| {one['microseconds']:,} | {one['fixed_microseconds']:,} |"
        )
    yield ""
    yield from summary(result)
    name = _plot_name(result)
    yield f"![targets and estimates](plots/{name}.svg)\n\nSame plot as PNG: [plots/{name}.png](plots/{name}.png)\n"


def summary(result: Json) -> Iterator[str]:
    """What the table comes to, in sentences."""
    mine, stored = result["queries"]["targets"], result["stored"]["targets"]
    met = sum(_met(one) for one in mine)
    error = 100 * np.mean([abs(one["estimate"] - one["recall"]) for one in mine])
    single = 100 * np.mean([one["absolute_error"] for one in mine])
    coverage = [one["coverage"] for one in mine]
    ratio = np.exp(np.mean([np.log(one["fixed"] / one["rows"]) for one in mine]))
    yield f"- {met} of {len(mine)} targets within one point below and two above, or at the shortest shortlist: {_gaps(mine)}."
    yield f"- Calibrated on stored documents instead of queries: {_gaps(stored)}."
    yield (
        f"- Mean |estimate - recall|: {error:.2f} points over the rows of the table, {100 * reliability(mine):.2f} over bins "
        f"of like estimates, {single:.1f} over single answers."
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
    merged = _merged(bins)
    return float(np.average(np.abs(merged[:, 0] - merged[:, 1]), weights=merged[:, 2]))


def _merged(bins: np.ndarray, width: float = 0.02) -> np.ndarray:
    """[estimate, recall, queries] of bins whose estimates are near each other."""
    place = np.round(bins[:, 0] / width).astype(int)
    return np.array(
        [[*np.average(bins[place == at, :2], axis=0, weights=bins[place == at, 2]), bins[place == at, 2].sum()]
         for at in np.unique(place)]
    )  # fmt: skip


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


def plot(result: Json) -> None:
    """Achieved against wanted recall, reliability of the estimates, and rows against the best fixed shortlist."""
    if "queries" not in result:
        return
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        figure.suptitle(f"{result['collection']}, {result['model']}")
        left, middle, right = figure.subplots(1, 3)
        records = result["queries"]["targets"]
        for place, k in enumerate(dict.fromkeys(one["k"] for one in records)):
            mine = [one for one in records if one["k"] == k]
            style = {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 4, "linewidth": 1.2}
            wanted = [one["target"] for one in mine]
            errors = [one["error"] for one in mine]
            left.errorbar(wanted, [one["recall"] for one in mine], errors, capsize=2, label=f"k = {k}", **style)
            merged = _merged(np.array([row for one in mine for row in one["bins"]]))
            middle.plot(merged[:, 0], merged[:, 1], label=f"k = {k}", **style)
            right.plot(wanted, [one["fixed"] / one["rows"] for one in mine], label=f"k = {k}", **style)
        for axes, ends in ((left, (0.89, 1.0)), (middle, (0.5, 1.0))):
            axes.plot(ends, ends, color="0.4", linestyle=":")
        left.set(xlabel="target recall", ylabel="recall achieved")
        middle.set(xlabel="recall estimated", ylabel="recall measured", xlim=(0.5, 1.01), ylim=(0.5, 1.01))
        right.axhline(1, color="0.4", linestyle=":")
        right.set(xlabel="target recall", ylabel="best fixed shortlist / rows", ylim=(0, None))
        for axes in (left, middle, right):
            axes.grid(alpha=0.3, linewidth=0.6)
        left.legend(fontsize=8, frameon=False)
        PLOTS.mkdir(parents=True, exist_ok=True)
        for suffix, metadata in NO_DATE.items():
            figure.savefig(PLOTS / f"{_plot_name(result)}.{suffix}", dpi=DPI, metadata=metadata)


def _read(path: Path) -> Json:
    found: Json = json.loads(path.read_text())
    return found


def _key(result: Json) -> str:
    return f"{result['collection']} {result['model']}"


def _plot_name(result: Json) -> str:
    return f"recall-{result['collection']}-{result['model']}"


def _plan_cell(one: Json) -> str:
    told = [f"{one['recall']:.4f}" if "recall" in one else "", f"{one['read']:,.0f} read"]
    told.append(f"{one['rerank_us']:,} µs" if "rerank_us" in one else "")
    return ", ".join(filter(None, told))

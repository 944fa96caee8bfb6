"""The plots of an evaluation: quality by width, and the funnel by shortlist; as PNG and as SVG.

Colours are those of Okabe and Ito (2008), which stay apart for colour-blind readers; every line has a marker of its
own besides. The same results give the same bytes: no dates, fixed ids.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.extras import extra_module

Json = Mapping[str, Any]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
STYLE = {
    "svg.hashsalt": "funnel-search",
    "svg.fonttype": "none",  # words stay words
    "font.sans-serif": ["DejaVu Sans", "Arial"],  # every word names them all
    "font.size": 9.0,
    "axes.axisbelow": True,
}
NO_DATE: dict[str, dict[str, None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
DPI = 100


def write_plots(folder: Path, name: str, result: Json) -> list[str]:
    """Draw all plots of one result into the folder; their names without suffix, in the order of the page."""
    figures = dict(_figures(name, result))
    folder.mkdir(parents=True, exist_ok=True)
    for title, figure in figures.items():
        for suffix, metadata in NO_DATE.items():
            with extra_module("matplotlib", "evaluate").rc_context(STYLE):
                figure.savefig(folder / f"{title}.{suffix}", dpi=DPI, metadata=metadata)
    return list(figures)


def _figures(name: str, result: Json) -> Iterator[tuple[str, Any]]:
    with extra_module("matplotlib", "evaluate").rc_context(STYLE):
        yield f"{name}-widths", widths_figure(name, result)
        if any(model.get("funnel") for model in result["models"].values()):
            yield f"{name}-funnel", funnel_figure(name, result)


def widths_figure(name: str, result: Json) -> Any:
    """Quality by width for every model: the measure itself, and its share of the full width's."""
    main, label = ("spearman", "Spearman") if "pairs" in result else ("ndcg@10", "nDCG@10")
    figure, (left, right) = _panels(name)
    for place, (model, curve) in enumerate(_curves(result)):
        widths = [row["width"] for row in curve["widths"]]
        for axes, key in ((left, main), (right, "share")):
            _line(axes, widths, [row[key] for row in curve["widths"]], place, model)
    for title, baseline in result["baselines"].items():
        if "exact" in baseline:
            left.axhline(baseline["exact"][main]["value"], color="0.4", linestyle=":", label=title)
    ticks = sorted({row["width"] for _, curve in _curves(result) for row in curve["widths"]})
    wanted = next(iter(result["models"].values()))["bottleneck"]["wanted"]
    right.axhline(wanted, color="0.4", linestyle="--", linewidth=0.8, label=f"wanted: {wanted:g}")
    _finish(left, "dimensions", label, ticks)
    _finish(right, "dimensions", f"share of full {label}", ticks)
    return figure


def funnel_figure(name: str, result: Json) -> Any:
    """Shortlist against recall of exact search, and against the share of its nDCG, for every stage plan."""
    figure, (left, right) = _panels(name)
    place, ticks = 0, set[int]()
    for model, curve in result["models"].items():
        for plan in dict.fromkeys(row["plan"] for row in curve["funnel"]):
            rows = [row for row in curve["funnel"] if row["plan"] == plan]
            lengths = [row["shortlist"] for row in rows]
            for axes, key in ((left, "recall@10"), (right, "share")):
                _line(axes, lengths, [row[key] for row in rows], place, f"{model}: {plan}")
            place, ticks = place + 1, ticks | set(lengths)
    right.axhline(1, color="0.4", linestyle=":", label="exact search")
    _finish(left, "shortlist", "recall@10 of exact search", sorted(ticks))
    _finish(right, "shortlist", "share of exact nDCG@10", sorted(ticks))
    return figure


def _curves(result: Json) -> list[tuple[str, Json]]:
    both = {**result["models"], **result["baselines"]}
    return [(name, one) for name, one in both.items() if "widths" in one]


def _panels(title: str) -> tuple[Any, Any]:
    """A figure with two panels side by side."""
    figure = extra_module("matplotlib.figure", "evaluate").Figure(figsize=(9, 3.4), layout="constrained")
    figure.suptitle(title)
    return figure, figure.subplots(1, 2)


def _line(axes: Any, x: Sequence[int], estimates: Sequence[Json], place: int, label: str) -> None:
    """A curve with its 95 % band; what is no number is left out."""
    known = [(at, one) for at, one in zip(x, estimates, strict=True) if one["value"] is not None]
    at = [width for width, _ in known]
    value, low, high = ([one[end] for _, one in known] for end in ("value", "low", "high"))
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    axes.plot(at, value, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
    axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)


def _finish(axes: Any, x: str, y: str, ticks: Sequence[int]) -> None:
    """Axes with a logarithmic scale whose ticks are what was measured."""
    axes.set(xlabel=x, ylabel=y, xscale="log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.legend(fontsize=7, frameon=False, loc="lower right")

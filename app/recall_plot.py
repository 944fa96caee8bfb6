"""The plot of a measured curve: recall by shortlist, and recall by time, with 95 % bands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.extras import extra_module
from app.plots import COLOURS, DPI, MARKERS, NO_DATE, STYLE
from index.errors import InvalidInput

Json = Mapping[str, Any]


def check_plot(path: Path) -> None:
    """Raise InvalidInput for another kind of file, ExtraMissing without matplotlib: before the work, not after it."""
    if path.suffix.lstrip(".") not in NO_DATE:
        raise InvalidInput(f"a plot is a .png or .svg file, got {path.name!r}")
    extra_module("matplotlib", "evaluate")


def write_plot(path: Path, result: Json) -> None:
    """Draw the result of a run; the same result gives the same bytes."""
    with extra_module("matplotlib", "evaluate").rc_context(STYLE):
        figure = recall_figure(result)
        figure.savefig(path, dpi=DPI, metadata=NO_DATE[path.suffix.lstrip(".")])


def recall_figure(result: Json) -> Any:
    """Two panels, a line for each number of stages; measured targets are marked in both."""
    figure = extra_module("matplotlib.figure", "evaluate").Figure(figsize=(9, 3.4), layout="constrained")
    figure.suptitle(f"{result['documents']:,} documents, {result['queries']:,} queries: {result['source']}")
    left, right = figure.subplots(1, 2)
    points = [point for point in result["curve"] if point["exact"] < 1]
    for place, depth in enumerate(sorted({len(point["stages"]) for point in points})):
        mine = [point for point in points if len(point["stages"]) == depth]
        label = "shortlist and rerank" if depth == 1 else f"cascade of {depth} stages"
        _line(left, [point["stages"][0][1] for point in mine], mine, place, label)
        _line(right, [point["ms"]["median"] for point in mine], mine, place, label)
    _targets(left, [point["rows"] for point in result["targets"]], result["targets"])
    _targets(right, [point["ms"]["median"] for point in result["targets"]], result["targets"])
    left.set(xlabel="rows of the first stage", ylabel=f"recall@{result['k']}", xscale="log")
    right.set(xlabel="median ms of a search", ylabel=f"recall@{result['k']}", xlim=(0, None))
    if ticks := sorted({point["stages"][0][1] for point in points}):
        left.set_xticks(ticks, [str(tick) for tick in ticks])
        left.minorticks_off()
    for axes in (left, right):
        axes.grid(alpha=0.3, linewidth=0.6)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=7, frameon=False, loc="lower right")
    return figure


def _line(axes: Any, x: list[float], points: list[Json], place: int, label: str) -> None:
    mean, low, high = ([point["recall"][end] for point in points] for end in ("mean", "low", "high"))
    axes.plot(x, mean, color=COLOURS[place], marker=MARKERS[place], markersize=4, linewidth=1.4, label=label)
    axes.fill_between(x, low, high, color=COLOURS[place], alpha=0.15, linewidth=0)


def _targets(axes: Any, x: list[float], points: list[Json]) -> None:
    if points:
        mean = [point["recall"]["mean"] for point in points]
        axes.plot(x, mean, color="0.2", marker="*", linestyle="none", label="targets, on other queries")

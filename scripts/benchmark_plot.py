"""The plot of one comparison: recall against time for the fastest systems, memory against time for all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmark_ratios import frontier
from benchmark_tables import MEGABYTE, OURS, points
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from app.plots import COLOURS, DPI, MARKERS, NO_DATE, STYLE

AT = "0.95"
Json = Mapping[str, Any]


def plot(path: Path, results: Json, k: str) -> bool:
    """Draw it beside `path` as PNG and SVG; False when no system reaches the recall that it is about."""
    rows = results["compared"][k][AT]
    if not rows:
        return False
    systems = {one["name"]: one for one in results["systems"]}
    fastest = sorted(rows, key=lambda name: rows[name]["ms"])[: len(COLOURS)]
    if OURS in rows and OURS not in fastest:
        fastest[-1] = OURS
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, name in enumerate(fastest):
            best = frontier(points(systems[name], k, "medians_ms"))
            style = {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 4}
            width = 2.4 if name == OURS else 1.1
            left.plot(
                [one.recall for one in best], [one.mean * 1e3 for one in best], label=name, linewidth=width, **style
            )
        for name, row in rows.items():
            size = max(systems[name]["memory"]["anonymous"], 0) / MEGABYTE
            colour = COLOURS[fastest.index(name)] if name in fastest else "0.5"
            right.plot([row["ms"]], [max(size, 0.1)], "o", color=colour, markersize=4)
            right.annotate(name, (row["ms"], max(size, 0.1)), xytext=(4, 2), textcoords="offset points", fontsize=6)
        left.set(xlabel=f"recall@{k}", ylabel="p50 of a search, ms", yscale="log")
        right.set(xlabel=f"p50 of a search at recall@{k} {AT}, ms", ylabel="anonymous memory, MB")
        right.set(xscale="log", yscale="log")
        for axes in (left, right):
            axes.grid(alpha=0.3, linewidth=0.6)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(ScalarFormatter())
                axis.set_minor_formatter(ScalarFormatter() if axis is right.yaxis else NullFormatter())
        left.legend(fontsize=7, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix, metadata in NO_DATE.items():
            figure.savefig(f"{path}.{suffix}", dpi=DPI, metadata=metadata)
    return True

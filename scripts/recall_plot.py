"""The plot of one collection's target recalls: achieved, estimated, and against the best fixed shortlist."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from app.plots import COLOURS, DPI, MARKERS, NO_DATE, STYLE

PLOTS = Path("docs/plots")
Json = Mapping[str, Any]


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
            seen = merged(np.array([row for one in mine for row in one["bins"]]))
            middle.plot(seen[:, 0], seen[:, 1], label=f"k = {k}", **style)
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
            figure.savefig(PLOTS / f"{plot_name(result)}.{suffix}", dpi=DPI, metadata=metadata)


def merged(bins: np.ndarray, width: float = 0.02) -> np.ndarray:
    """[estimate, recall, queries] of bins whose estimates are near each other."""
    place = np.round(bins[:, 0] / width).astype(int)
    return np.array(
        [[*np.average(bins[place == at, :2], axis=0, weights=bins[place == at, 2]), bins[place == at, 2].sum()]
         for at in np.unique(place)]
    )  # fmt: skip


def plot_name(result: Json) -> str:
    return f"recall-{result['collection']}-{result['model']}"

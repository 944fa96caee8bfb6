"""What benchmark_scale.py stored, as tables and a plot of docs/performance.md: each figure at one recall, by size."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from benchmark_ratios import SMALLEST
from figures import source, table
from matplotlib.figure import Figure

from app.plots import COLOURS, DPI, MARKERS, NO_DATE, STYLE

AT = 0.95
STAGES = ("shortlist", "rerank", "documents", "rest")
HEADS = ("rows", f"p50 ms at recall {AT}", "p99 ms", "searches/s, 2 threads", *(f"{stage} ms" for stage in STAGES))
COSTS = ("rows", "rows/s written", "CPU s for all", "opened s", "anonymous MB", "bytes a row", "file MB", "disk MB")
MEGABYTE = 1_000_000
Json = Mapping[str, Any]


def scale(found: Mapping[str, Json], plots: Path) -> Iterator[str]:
    """The section of every stored result, by name."""
    for name, results in found.items():
        codes = f"{results['index']} over {results['prefix_dim']} dimensions, full vectors as {results['storage']}"
        yield f"### From {results['sizes'][0]['rows']:,} to {results['sizes'][-1]['rows']:,} rows: {codes}"
        yield ""
        yield (
            f"Synthetic rows ({results['collection']}, {results['dim']} dimensions, k = {results['k']}): see how to "
            "read it. The store grew from size to size and was opened by a new process at each; one core, then two "
            f"threads on two. Everything measured is in [{name}.json](results/{name}.json)."
        )
        yield ""
        yield from table(HEADS, [_times(one["rows"], one["free"]) for one in results["sizes"]])
        yield from table(COSTS, list(_costs(results["sizes"])))
        yield from _capped(results["sizes"][-1])
        _plot(plots / name, results["sizes"])
        yield f"![milliseconds of each stage by size](plots/{name}.svg)"
        yield ""
        yield from source(results)


def stored(folder: Path) -> dict[str, Json]:
    """The results of this kind in a folder, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("scale-*.json"))}


def at(settings: Sequence[Json], figure: str) -> float | None:
    """A figure between the two shortlists whose recalls are on both sides of AT, along the logarithm of what is missed.

    None where no shortlist has that recall; of the nearest above where none is below.
    """
    missed = [-math.log(max(1 - one["recall"], SMALLEST)) for one in settings]  # ascending, as the shortlists are
    if max(missed) < -math.log(1 - AT):
        return None
    return float(np.interp(-math.log(1 - AT), missed, [_value(one, figure) for one in settings]))


def _value(one: Json, figure: str) -> Any:
    return one["stages_ms"].get(figure, one.get(figure))


def _times(rows: int, found: Json) -> tuple[object, ...]:
    if "failed" in found:
        return (f"{rows:,}", found["failed"], *[""] * (len(HEADS) - 2))
    times = (_shown(at(found["settings"], figure), 3) for figure in ("p50_ms", "p99_ms"))
    stages = (_shown(at(found["settings"], stage), 3) for stage in STAGES)
    return (f"{rows:,}", *times, _shown(at(found["settings"], "searches_a_second"), 0), *stages)


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _costs(sizes: Sequence[Json]) -> Iterator[tuple[object, ...]]:
    computed = 0.0
    for one in sizes:
        computed += one["cpu_seconds"]
        free, rows = one["free"], one["rows"]
        told = [f"{rows:,}", f"{one['written'] / one['write_seconds']:,.0f}", f"{computed:,.0f}"]
        if "failed" in free:
            yield (*told, *[""] * 4, f"{one['disk_bytes'] / MEGABYTE:,.0f}")
            continue
        memory = free["memory"]
        told += [f"{free['open_seconds']:.2f}", f"{memory['anonymous'] / MEGABYTE:,.0f}"]
        told += [f"{memory['anonymous'] / rows:,.0f}", f"{memory['file'] / MEGABYTE:,.0f}"]
        yield (*told, f"{one['disk_bytes'] / MEGABYTE:,.0f}")


def _capped(last: Json) -> Iterator[str]:
    if "capped" in last:
        limit = last["capped"]["cap_bytes"] // MEGABYTE
        yield f"Under a limit of {limit:,} MB, page cache included, with nothing in the page cache at the start:"
        yield ""
        yield from table(HEADS, [_times(last["rows"], last["capped"])])


def _plot(path: Path, sizes: Sequence[Json]) -> None:
    """Milliseconds of a search and of its stages at recall AT, by rows."""
    living = [one for one in sizes if "failed" not in one["free"]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for place, name in enumerate(("p50_ms", *STAGES)):
            drawn = [(one["rows"], value) for one in living if (value := at(one["free"]["settings"], name)) is not None]
            label = "whole search, p50" if name == "p50_ms" else f"{name}, mean"
            style = {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 4}
            axes.plot(*zip(*drawn, strict=True) if drawn else ([], []), label=label, **style)
        axes.set(xlabel="rows", ylabel=f"ms at recall@10 {AT}", xscale="log")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.legend(fontsize=7, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix, metadata in NO_DATE.items():
            figure.savefig(f"{path}.{suffix}", dpi=DPI, metadata=metadata)

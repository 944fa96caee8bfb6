"""By size: from which number of rows on the funnel is ahead of the peers, of several results of one collection."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from benchmark_tables import OURS
from figures import table

AT = ("0.95", "0.99")
PACKED = "funnel-packed"
GROUPS = {"plain": ("plain",), "two-stage": ("two-stage",), "floor": ("floor",)}
STAGES = ("shortlist", "rerank", "documents")
Json = Mapping[str, Any]


def growth(found: Sequence[Json]) -> Iterator[str]:
    """A table for every collection measured at several sizes, k = 10: the fastest peer of each mode against ours."""
    for name in dict.fromkeys(one["collection"]["name"] for one in found):
        mine = [one for one in found if one["collection"]["name"] == name and not one["memory_cap"]]
        sizes = {one["collection"]["rows"]: one for one in mine}
        if len(sizes) < 2:
            continue
        yield f"### {name} by size, k = 10"
        yield ""
        for target in AT:
            rows = {size: fastest(sizes[size], target) for size in sorted(sizes)}
            peers = (f"fastest {mode} peer, times ours" for mode in GROUPS)
            heads = (f"rows, recall {target}", "ours ms", "packed", *peers)
            yield from table(heads, [(f"{size:,}", *_cells(row)) for size, row in rows.items()])
            for mode in GROUPS:
                if told := crossover({size: row[mode][1] for size, row in rows.items() if mode in row}):
                    yield f"At recall {target} ours and the fastest {mode} peer are equal at about {told:,.0f} rows."
                    yield ""


def stages(found: Sequence[Json]) -> Iterator[str]:
    """A table of our own: where the milliseconds of a search go at every size, at the default setting, k = 10."""
    rows = [row for one in found if (row := _stages(one)) is not None]
    if rows:
        yield "### Where our time goes, default setting, k = 10"
        yield ""
        yield from table(("collection, rows", "recall", "p50 ms", "mean ms", *STAGES, "outside of them"), rows)


def _stages(results: Json) -> tuple[object, ...] | None:
    ours = next((one for one in results["systems"] if one["name"] == OURS), {"settings": {}})
    default = next((one for one in ours["settings"].get("10", []) if not one["setting"]), None)
    if default is None or results["memory_cap"]:
        return None
    taken = [default["stages_ms"][name] for name in STAGES]
    about, rest = results["collection"], default["mean_ms"] - sum(taken)
    shown = (f"{value:.3f}" for value in (default["p50_ms"], default["mean_ms"], *taken, rest))
    return (f"{about['name']}, {about['rows']:,}", f"{default['recall']:.4f}", *shown)


def fastest(results: Json, target: str) -> dict[str, tuple[str, float]]:
    """Mode -> the fastest peer's name and its time as a multiple of ours; `ours` -> our name and milliseconds.

    `packed` is our own store with packed prefixes, as a multiple of the default's time.
    """
    at = results["compared"].get("10", {}).get(target, {})
    if OURS not in at:
        return {}
    modes = {one["name"]: one["mode"] for one in results["systems"] if one["kind"] != "served"}
    found = {"ours": (OURS, at[OURS]["ms"])}
    if PACKED in at:
        found["packed"] = (PACKED, at[PACKED]["times_ours"]["value"])
    for group, members in GROUPS.items():
        peers = [name for name in at if modes.get(name) in members and not name.startswith(OURS)]
        if peers:
            best = min(peers, key=lambda name: at[name]["ms"])
            found[group] = (best, at[best]["times_ours"]["value"])
    return found


def crossover(ratios: Mapping[int, float]) -> float | None:
    """The size at which a ratio rises above 1 and stays there, in logarithms; None when no measured pair has it."""
    sizes = sorted(ratios)
    for small, large in zip(sizes[-2::-1], sizes[:0:-1], strict=True):
        if ratios[large] < 1:
            return None
        if ratios[small] < 1:
            ends = np.log([ratios[small], ratios[large]])
            return float(np.exp(np.interp(0.0, ends, np.log([small, large]))))
    return None


def _cells(row: Mapping[str, tuple[str, float]]) -> Iterator[str]:
    yield f"{row['ours'][1]:.3f}" if row else ""
    yield f"{row['packed'][1]:.2f}" if "packed" in row else ""
    for mode in GROUPS:
        yield f"{row[mode][0]} {row[mode][1]:.2f}" if mode in row else ""

"""Systems at equal recall: who needs what, as a table in the terminal and as figures in the results."""

from typing import Any

import numpy as np
from benchmark_ratios import Point, at_recall, ratio
from rich.console import Console
from rich.table import Table

TARGETS = (0.9, 0.95, 0.98, 0.99)
OURS = "funnel"
MEGABYTE = 1_000_000
WIDE = 190  # characters, where there is no terminal


def points(system: dict[str, Any], k: str, figure: str) -> list[Point]:
    """The repeated settings of a system: seconds of a search, or of one of many at once."""
    found = []
    for one in system.get("settings", {}).get(k, []):
        if one["repeated"]:
            values = np.array(one[figure])
            seconds = values / 1e3 if figure == "medians_ms" else 1 / values
            found.append(Point(one["setting"], one["recall"], tuple(seconds)))
    return found


def compared(results: dict[str, Any]) -> dict[str, Any]:
    """k -> target recall -> system -> milliseconds and throughput there, both as ratios to ours, and its setting."""
    living = [system for system in results["systems"] if "failed" not in system]
    found: dict[str, Any] = {}
    for k in map(str, results["plan"]["ks"]):
        found[k] = {}
        for target in TARGETS:
            alone = _at(living, k, target, "medians_ms")
            both = _at(living, k, target, "throughput")
            found[k][str(target)] = {
                name: _row(alone[name], both.get(name), alone.get(OURS), both.get(OURS)) for name in alone
            }
            for system in living:
                if system["name"] in alone:
                    found[k][str(target)][system["name"]]["nearest"] = nearest(system, k, target)
    return found


def nearest(system: dict[str, Any], k: str, target: float) -> dict[str, Any]:
    """The fastest setting that was asked in all rounds and has this recall, as it was measured."""
    enough = [one for one in system["settings"][k] if one["repeated"] and one["recall"] >= target]
    best = min(enough, key=lambda one: one["p50_ms"])
    return {name: best[name] for name in ("setting", "recall", "p50_ms", "p99_ms")}


def _at(systems: list[dict[str, Any]], k: str, target: float, figure: str) -> dict[str, np.ndarray]:
    pairs = ((system["name"], at_recall(points(system, k, figure), target)) for system in systems)
    return {name: seconds for name, seconds in pairs if seconds is not None}


def _row(
    alone: np.ndarray, both: np.ndarray | None, ours: np.ndarray | None, ours_both: np.ndarray | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"ms": _mean(alone * 1e3)}
    if both is not None:
        row["throughput"] = _mean(1 / both)
    if ours is not None:
        row["times_ours"] = ratio(alone, ours)
    if both is not None and ours_both is not None:
        row["throughput_of_ours"] = ratio(ours_both, both)
    return row


def show(results: dict[str, Any]) -> None:
    """A table for every k, the fastest at the last target first; then what failed."""
    console = Console()
    console = console if console.is_terminal else Console(width=WIDE)
    about = results["collection"]
    for k, targets in results["compared"].items():
        title = f"{about['name']}: {about['rows']:,} x {about['dim']}, k = {k}; p50 in ms on one core at recall"
        table = Table("system", "mode", title=title, title_justify="left")
        columns = [f"{target} (times ours)" for target in targets]
        for name in (
            *columns,
            f"q/s, {results['plan']['threads']} threads, 0.95",
            "build s",
            "anonymous MB",
            "file MB",
            "disk MB",
        ):
            table.add_column(name, justify="right")
        for system in sorted(results["systems"], key=lambda one: _order(one, targets)):
            if "failed" not in system:
                table.add_row(system["name"], system["mode"], *_cells(system, targets))
        console.print(table)
    for system in results["systems"]:
        if "failed" in system:
            console.print(f"{system['name']}: {system['failed']}", style="red", highlight=False, markup=False)
        elif "cold" in system:
            console.print(f"{system['name']}: cold {system['cold']}", highlight=False, markup=False)


def _order(system: dict[str, Any], targets: dict[str, Any]) -> float:
    found = [rows[system["name"]]["ms"] for rows in targets.values() if system["name"] in rows]
    return found[1] if len(found) > 1 else 1e9


def _cells(system: dict[str, Any], targets: dict[str, Any]) -> list[str]:
    name = system["name"]
    cells = [_cell(rows.get(name)) for rows in targets.values()]
    throughput = targets["0.95"].get(name, {}).get("throughput")
    memory = system["memory"]
    bytes_ = (memory["anonymous"], memory["file"], system["disk_bytes"])
    return [
        *cells,
        "-" if throughput is None else f"{throughput:,.0f}",
        f"{system['build']['seconds']:.1f}",
        *(f"{one / MEGABYTE:,.0f}" for one in bytes_),
    ]


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    times = row.get("times_ours", {}).get("value")
    return f"{row['ms']:.3f}" + ("" if times is None else f" ({times:.2f})")


def _mean(values: np.ndarray) -> float:
    return float(f"{float(np.exp(np.log(values).mean())):.4g}")

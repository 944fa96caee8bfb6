"""The tables of docs/performance.md and their plots, from benchmark-*.json and scale-*.json in docs/results.

What stands between the two marks of the page is written anew; the rest of it is written by people.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark_growth import growth, stages
from benchmark_plot import plot
from benchmark_scale_page import scale, stored
from benchmark_tables import MEGABYTE, TARGETS
from figures import fill, source, table

PAGE, RESULTS, PLOTS = Path("docs/performance.md"), Path("docs/results"), Path("docs/plots")
BEGIN, END = "<!-- written by scripts/benchmark.py --page -->", "<!-- end of what it writes -->"
SHOWN = ("0.95", "0.99")
Json = Mapping[str, Any]
SYNTHETIC = ("mixture", "clusters")


def write() -> None:
    """Put the results into the page; raises ValueError when it has not both marks."""
    found = [(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("benchmark-*.json"))]
    lines = [line for name, results in found for line in section(name, results)]
    every = [results for _, results in found]
    fill(PAGE, BEGIN, END, [*growth(every), *scale(stored(RESULTS), PLOTS), *stages(every), *lines])


def section(name: str, results: Json) -> Iterator[str]:
    """Head, a table for every k, plots, what failed, origin."""
    about = results["collection"]
    synthetic = " (synthetic)" if about["name"] in SYNTHETIC else ""
    yield f"### {about['name']}{synthetic}: {about['rows']:,} rows of {about['dim']}"
    yield ""
    yield (
        f"{about['prefix_energy']:.0%} of the vectors' squared length is in the first 64 numbers. "
        f"{results['plan']['rounds']} rounds, {results['plan']['per_round']} queries of a setting in each; "
        f"every setting is in [{name}.json](results/{name}.json)."
    )
    yield ""
    if results["memory_cap"]:
        yield f"Every system had {results['memory_cap'] // MEGABYTE:,} MB of memory, page cache included."
        yield ""
    for k, targets in results["compared"].items():
        yield from table(_head(k, results["plan"]["threads"]), _rows(results, targets))
        stem = f"{name}-k{k}"
        if plot(PLOTS / stem, results, k):
            yield f"![recall against time, memory against time, k = {k}](plots/{stem}.svg)"
            yield ""
    if cold := list(_cold(results)):
        yield "After the page cache was dropped, the first 100 searches of a process:"
        yield ""
        yield from table(("system", "opened s", "first ms", "p50 ms", "p99 ms", "read a search, KB"), cold)
    if told := [f"`{one['name']}`: {one['failed']}" for one in results["systems"] if "failed" in one]:
        yield "Not measured: " + "; ".join(told) + "."
        yield ""
    yield "Left out: " + "; ".join(f"{who} ({why})" for who, why in results["left_out"].items()) + "."
    yield ""
    busy = max(_waited(one) for one in results["systems"])
    if busy > 0.05:
        yield f"The machine had other work: up to {busy:.0%} of a measurement was spent waiting for a core."
        yield ""
    of_peers = {name: number for one in results["systems"] for name, number in one.get("versions", {}).items()}
    yield from source({**results, "versions": {**results["versions"], **of_peers}})


def _head(k: str, threads: int) -> tuple[str, ...]:
    at = (f"p50 ms at recall@{k} {target}, times ours" for target in SHOWN)
    at_first = (f"p99 ms at {SHOWN[0]}", f"searches/s, {threads} thread{'s' if threads > 1 else ''}, {SHOWN[0]}")
    return (f"k = {k}", *at, *at_first, "build s (CPU s)", "anonymous MB", "file MB", "disk MB")


def _rows(results: Json, targets: Json) -> list[tuple[object, ...]]:
    living = [one for one in results["systems"] if "failed" not in one]
    return [_row(one, targets) for one in sorted(living, key=lambda one: _order(one["name"], targets))]


def _order(name: str, targets: Json) -> tuple[float, ...]:
    """The fastest at the first shown recall first; who reaches none is last."""
    return tuple(targets[target].get(name, {}).get("ms", 1e9) for target in map(str, TARGETS[1:]))


def _row(system: Json, targets: Json) -> tuple[object, ...]:
    name, memory = system["name"], system["memory"]
    reached = targets[SHOWN[0]].get(name, {})
    throughput, near = reached.get("throughput"), reached.get("nearest")
    return (
        f"{name}, {system['mode']}",
        *(_cell(targets[target].get(name)) for target in SHOWN),
        "" if near is None else f"{near['p99_ms']:.3f}",
        "" if throughput is None else f"{throughput:,.0f}{_share(reached)}",
        _built(system["build"]),
        *(f"{one / MEGABYTE:,.0f}" for one in (memory["anonymous"], memory["file"], system["disk_bytes"])),
    )


def _built(build: Json) -> str:
    computed = build.get("cpu_seconds")
    return f"{build['seconds']:,.1f}" + ("" if computed is None else f" ({computed:,.0f})")


def _share(row: Json) -> str:
    ratio = row.get("throughput_of_ours")
    return "" if ratio is None else f", {ratio['value']:.2f} of ours"


def _cell(row: Json | None) -> str:
    if row is None:
        return ""
    ratio = row.get("times_ours")
    if ratio is None:
        return f"{row['ms']:.3f}"
    between = "" if ratio["low"] is None else f" ({ratio['low']:.2f}-{ratio['high']:.2f})"
    return f"{row['ms']:.3f}, {ratio['value']:.2f}{between}"


def _cold(results: Json) -> Iterator[tuple[object, ...]]:
    for one in results["systems"]:
        if "first_ms" in one.get("cold", {}):
            cold = one["cold"]
            times = (f"{cold[name]:.2f}" for name in ("open_seconds", "first_ms", "p50_ms", "p99_ms"))
            yield (one["name"], *times, f"{cold['read_bytes_per_search'] / 1e3:,.0f}")


def _waited(system: Json) -> float:
    return max((one["waited_share"] for found in system["settings"].values() for one in found), default=0.0)

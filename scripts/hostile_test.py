#!/usr/bin/env python3
"""Hostile, slow and broken clients against a real server: time, memory and answers of each case.

Half-open bodies, heads that trickle, thousands of idle connections, clients that never read, a JSON body of 10 GB,
10 GB of NDJSON, 100,000 lines with a bad one, sixteen bodies of 60 MB at once, a million ids, deep JSON, and
heads that no client sends. The first case that is not answered as it should be ends the run with an error.

    ./scripts/hostile_test.py --out docs/results/hostile.json
    ./scripts/hostile_test.py --scale 0.02      # the sizes of the quick tests
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import Server, console, store_results
from hostile_cases import CASES
from hostile_target import SETTINGS, Peak, Target, healthy
from rich.progress import track
from rich.table import Table

MIB = 1 << 20


def main() -> None:
    """Parse arguments, run every case, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="funnel-hostile-") as folder:
        server = Server({**SETTINGS, "FUNNEL_DATA_DIR": f"{folder}/data"}, Path(folder) / "server.log")
        try:
            server.wait()
            target = Target(server, arguments.scale)
            for case in track(CASES, "cases", console=console, disable=not console.is_terminal):
                began, peak = time.monotonic(), Peak(server)
                figures = case(target)
                seconds = round(time.monotonic() - began, 2)
                found.append({"case": case.__name__, "promise": case.__doc__, "seconds": seconds,
                              "peak_growth_mib": round(peak.end() / MIB), "figures": figures})  # fmt: skip
                healthy(target)
            memory = server.memory()
        finally:
            server.end()
    show(found)
    store_results(arguments.out, {"scale": arguments.scale, "cases": found, "memory_at_the_end": memory})


def show(found: list[dict[str, Any]]) -> None:
    """One line a case."""
    table = Table("case", "seconds", "peak growth MiB", "figures")
    for one in found:
        table.add_row(one["case"], str(one["seconds"]), str(one["peak_growth_mib"]), str(one["figures"]))
    console.print(table)


if __name__ == "__main__":
    main()

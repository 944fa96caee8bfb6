#!/usr/bin/env python3
"""Write the tables of docs/hybrid.md from docs/results/hybrid.json, which scripts/evaluate_hybrid.py makes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- written by scripts/hybrid_page.py -->\n", "<!-- end of what it writes -->\n"
HEAD = "|  | nDCG@10 | of the funnel's | ms of a core | 95th percentile |\n|---|---:|---:|---:|---:|"


def main() -> None:
    """Write what is between the two comments."""
    page = DOCS / "hybrid.md"
    page.write_text(written(page.read_text("utf-8"), json.loads((DOCS / "results/hybrid.json").read_text())), "utf-8")


def written(page: str, results: dict[str, Any]) -> str:
    """The page with the tables of these results."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables(results)}\n{END}{rest.partition(END)[2]}"


def tables(results: dict[str, Any]) -> str:
    """One for each collection, and where they come from."""
    found = "\n\n".join(_table(name, one) for name, one in results["collections"].items())
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return f"{found}\n\n`{results['command']}` at commit {results['commit']}; {results['machine']}; {versions}.\n"


def _table(name: str, one: dict[str, Any]) -> str:
    cost = f"{one['words_bytes_per_document']:,.0f} bytes a document"
    title = f"**{name}**: {one['documents']:,} documents, {one['queries']:,} queries; words: {cost}"
    return "\n".join([f"{title}\n\n{HEAD}", *_rows(one["systems"])])


def _rows(systems: dict[str, Any]) -> Iterator[str]:
    for name, one in systems.items():
        value, share = one["ndcg@10"], one["share_of_funnel"]
        quality = f"{value['value']:.3f} ({value['low']:.3f}..{value['high']:.3f})"
        gain = f"{share['value']:.1%} ({share['low']:.1%}..{share['high']:.1%})"
        yield f"| {name} | {quality} | {gain} | {one['cpu_ms_mean']:.1f} | {one['cpu_ms_p95']:.1f} |"


if __name__ == "__main__":
    main()

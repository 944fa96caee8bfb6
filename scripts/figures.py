#!/usr/bin/env python3
"""Write docs/figures.md, docs/evaluation.md and its plots from the stored results in docs/results/.

Results named evaluation-*.json get a page of their own beside docs/evaluation.md.

    ./scripts/figures.py
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.evaluation_report import write_page
from app.evaluation_tables import described, summary

DOCS = Path(__file__).resolve().parent.parent / "docs"
RESULTS = DOCS / "results"
HEAD = """# Figures

Written by `scripts/figures.py` from the files in `docs/results/`, which hold commit, versions and command of each
run. Collections are those of the repository's data recipe: SQuAD 1.1 dev, Cranfield, ADI, and every package of
Debian 12 (known-item: the synopsis searches the long description). None of them was used to train the bundled model.
"""
EVALUATION = """# Evaluation

Written by `scripts/figures.py` from `docs/results/{name}.json`, made by {source}
"""
MIB = 1 << 20


def main() -> None:
    """Gather the sections and write the pages whose results are there."""
    sections = (relevance, latency, ingest, crashes)
    text = "\n".join([HEAD, *(line for section in sections for line in section())])
    (DOCS / "figures.md").write_text(text.rstrip() + "\n")
    for path in sorted(RESULTS.glob("evaluation*.json")):
        results = json.loads(path.read_text())
        head = EVALUATION.format(name=path.stem, source=next(source(results)))
        write_page(DOCS, head, results, path.stem)


def load(name: str) -> dict[str, Any] | None:
    """Stored results by name, None when there are none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A Markdown table; numbers to the right."""
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    yield from ("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)
    yield ""


def fill(page: Path, begin: str, end: str, lines: Iterable[str]) -> None:
    """Write what stands between two marks of a page anew; ValueError when it has not each of them once."""
    text = page.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} must have each of its marks once: {begin} and {end}")
    made = "\n".join(lines)
    page.write_text(f"{text.split(begin)[0]}{begin}\n\n{made}\n{end}{text.split(end)[1]}")


def source(results: Mapping[str, Any]) -> Iterator[str]:
    """Where a table comes from."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    yield f"`{results['command']}` at commit {results['commit']}; {results['machine']}; {versions}."
    yield ""


def relevance() -> Iterator[str]:
    """Prefix, funnel and exact search on judged collections, beside the baselines."""
    if (results := load("evaluation")) is None:
        return
    yield "## Relevance and recall"
    yield ""
    yield "With 95 % intervals; every width, every shortlist and the plots are in [evaluation.md](evaluation.md)."
    yield ""
    for name, found in results["collections"].items():
        yield f"**{name}**: {described(found)}"
        yield ""
        shown = summary(found)
        yield from table(shown.head, shown.rows)
    yield from source(results)


def latency() -> Iterator[str]:
    """Milliseconds by stage and size."""
    if (results := load("latency")) is None:
        return
    stages = ("embed", "shortlist", "rerank", "documents", "total", "http")
    yield "## Latency"
    yield ""
    yield "Milliseconds, p50 / p99, one connection, one query at a time; `http` is what the client waits."
    yield ""
    rows = []
    for size in results["sizes"]:
        for way, label in (("vector_in_ms", "vector"), ("text_in_ms", "text")):
            cells = [f"{size[way][stage]['p50']:.2f} / {size[way][stage]['p99']:.2f}" for stage in stages]
            rows.append((f"{size['documents']:,}", size["stages"][0][1], f"{size['recall@10']:.3f}", label, *cells))
    yield from table(("documents", "shortlist", "recall@10", "in", *stages), rows)
    yield f"{results['queries']:,} queries each way, recall@10 over 200 of them."
    yield ""
    yield from source(results)


def ingest() -> Iterator[str]:
    """Throughput, memory and disk."""
    if (results := load("ingest-debian")) is None:
        return
    memory = results["memory_bytes"]
    yield "## Ingest"
    yield ""
    rows = [
        ("documents", f"{results['documents']:,}"),
        ("documents a second, `funnel ingest` to a running service", results["documents_per_second"]),
        ("rate as a multiple of bare `model.encode` on the same texts", results["ratio_to_bare_encode"]["mean"]),
        ("resident memory of the service at the end, anonymous + file-backed",
         f"{memory['anonymous'] // MIB} + {memory['file'] // MIB} MiB"),
        ("bytes on disk a document", f"{results['disk_bytes_per_document']:,}"),
    ]  # fmt: skip
    yield from table(("Debian packages", ""), rows)
    yield f"Ratio by part: {', '.join(map(str, results['ratio_to_bare_encode']['parts']))}."
    yield ""
    yield from source(results)


def crashes() -> Iterator[str]:
    """Kill campaigns."""
    found = [results for name in ("crash-none", "crash-bundled") if (results := load(name))]
    if not found:
        return
    yield "## Kills"
    yield ""
    yield (
        "SIGKILL of the real server under concurrent writes, searches, rotations, compactions, snapshots; after each "
        "the directory is verified, and everything that is stored compared with what was acknowledged."
    )
    yield ""
    counts = ("kills", "acknowledged_changes", "answers_checked", "rotations", "compactions", "snapshots")
    rows = [(r["model"], *(f"{r.get(name, 0):,}" for name in counts), 0, f"`{r['command']}`") for r in found]
    yield from table(("model", *(name.replace("_", " ") for name in counts), "lost", "command"), rows)


if __name__ == "__main__":
    main()

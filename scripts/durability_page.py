#!/usr/bin/env python3
"""Write docs/durability.md: what an acknowledgement means, and the counts of the campaigns in docs/results/.

./scripts/durability_page.py
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from figures import DOCS, load, table

Json = Mapping[str, Any]
HEAD = """# Durability

Written by `scripts/durability_page.py`; the tables are made from `docs/results/`.

**200 means fsynced and searchable.** An answer of 200 to an ingest, a patch, a delete, a rotation or a snapshot, a
progress line that counts a document, a number that `funnel ingest` shows: each says that what it speaks of is on the
disk, synced, and that the next search sees it. There is no weaker mode and no setting for one.

## The acknowledgement

One thread writes. Documents that wait together share one commit:

1. `BEGIN IMMEDIATE` in SQLite: texts, metadata, hashes.
2. Vectors and a CRC-32 for each are written past the last committed row, and both files are fsynced.
3. `UPDATE state`, `COMMIT` (WAL, `synchronous=FULL`): the commit point. SQLite fsyncs its log.
4. The new view replaces the old one in memory, and the callers are answered.

Killed or cut off before 3, the rows are overwritten by the next commit; after 3, everything is there. Prefixes, graph
and calibration are derived: lost ones are made again from the vectors. Whatever is renamed into its place (the
manifest, a graph, a rotation, a snapshot, a compacted documents file) was fsynced before, and its directory after.

| What happens | What the service does |
|---|---|
| the disk is full | 507, nothing of the batch is stored, and writing goes on once there is room |
| an fsync fails, or the disk reports an error | 503: read-only until the next start: nobody knows what was written |
| the directory turns read-only | searches go on, writes get 503, a start says why it cannot |
| SIGKILL, want of memory | the next start takes up the last commit |
| SIGTERM | `/readyz` turns 503, requests in flight are answered or refused, exit within `FUNNEL_SHUTDOWN_SECONDS` |
| the power fails | what was acknowledged is there; the rest is there in whole documents, or not at all |
| a bit flips | what is returned was checked: text, metadata, vector, score, filter. A mismatch is an error, not a hit |
| a second process opens the directory | refused, with the process that has it |

## What is checked, and when

- **At the start**: manifest, state and list of live rows (sealed by checksums), rotation and query map, and the graph,
  whose checksum is compared before FAISS reads a byte of it. Vectors are checked where prefixes are made from them.
- **In every answer**: each hit's text, title and metadata against their hashes, its vector against its CRC-32 (seeded
  with the row number, so that a row at a wrong place is noticed), its metadata against the filter.
- **In idle time**: everything, about once a day (`FUNNEL_SCRUB_DAYS`); `/stats` and `/metrics` tell when, and what was
  found.
- **`funnel verify`** reads every byte of a stopped directory and names what is damaged. **`funnel repair`** sets single
  flipped bits back, makes again what is derived, embeds texts again whose vectors are lost, and saves and names what
  cannot be mended. It deletes nothing before a copy of what could be read is safe.

What no check of an answer can see, until the scrub or `funnel verify` does: a damaged entry in the index of the ids
(`GET` answers 404), a lost entry of the inverted metadata (a filter misses a document), a vector whose damaged score
falls out of the results. A damaged last commit of SQLite's log, or a log cut off, cannot be told from a power failure.

## Deleted means deleted

A deleted document is in no answer from the acknowledgement on. Its bytes stay in the files until `POST /compact`
(`funnel compact`), which writes the live rows into new files while searches and writes go on, and swaps them in by one
rename. After it the bytes of text, metadata and vector are in no live file, and the disk space is free; a test greps
every file. (What is deleted while it runs goes with the next one.) The commit point is the rename of the new documents
file over the old one, whose log was emptied and removed before; the directory is synced after. If that last sync fails
the store is read-only, and either generation opens. Snapshots made before may hold deleted rows still: the answer lists
those, `?purge_snapshots=true` deletes them; it also lists what `funnel repair` saved. On SSDs,
and on file systems that copy on write, old blocks may outlive every file: encrypt the disk if that matters.

## Snapshots

`POST /snapshots` (`funnel snapshot create`) writes one consistent moment into one tar file, with a `SHA256SUMS` that
standard tools can check, while writes go on. It is written under another name, synced and renamed: there is a whole
one, or none. `funnel restore FILE --data-dir NEW` checks every sum, verifies the directory and only then puts it in
place; hits are the same to the bit. `funnel export` writes NDJSON or Parquet, with vectors if you like, which
`funnel ingest` reads.

## How it was tested
"""
NAMES = {
    "crash-none": "SIGKILL of the real server, vectors sent",
    "crash-bundled": "SIGKILL of the real server, bundled model",
}
SHOWN_ELSEWHERE = ("seed", "seconds")


def main() -> None:
    """Write the page."""
    (DOCS / "durability.md").write_text(page(), "utf-8")


def page() -> str:
    """The whole page."""
    lines = [HEAD, *crashes(), *(line for name, title, body in SECTIONS for line in section(name, title, body))]
    return "\n".join(lines).rstrip() + "\n"


def section(name: str, title: str, body: Callable[[Json], Iterator[str]]) -> Iterator[str]:
    """What a file of docs/results/ tells; nothing where there is none."""
    if (run := load(name)) is not None:
        yield f"### {title}\n"
        yield from body(run)
        yield from commands([run])


def _figures_of(run: Json) -> dict[str, int | float]:
    return {key: value for key, value in run.items() if isinstance(value, int | float) and key not in SHOWN_ELSEWHERE}


def crashes() -> Iterator[str]:
    """Kills of the server."""
    found = {what: load(name) for name, what in NAMES.items()}
    runs = {what: run for what, run in found.items() if run}
    if not runs:
        return
    yield "### Kills\n"
    yield (
        "Clients ingest, upsert, change metadata, delete by id and by filter, search, rotate, compact and make "
        "snapshots at once; the process is killed at a random instant, the directory is verified, and the server is "
        "started again. Every acknowledged change has to be there, and nothing half of it.\n"
    )
    keys = sorted({key for run in runs.values() for key in _figures_of(run)})
    yield from table(
        ("", *runs), [(key.replace("_", " "), *(_number(run.get(key)) for run in runs.values())) for key in keys]
    )
    yield from commands(runs.values())


def power(run: Json) -> Iterator[str]:
    """Power failures."""
    yield (
        "A run of the real store is recorded with strace: every write, change of size, rename and fsync, and every "
        "acknowledgement. From the record the directories are made that a disk may hold after a power failure at some "
        "point: what was not synced is there, missing or torn, in any order. Each is opened and compared.\n"
    )
    figures = [(key.replace("_", " "), _number(value)) for key, value in _figures_of(run).items()]
    yield from table(("", "count"), figures)
    planted = run.get("planted", {})
    if planted:
        yield "Defects planted to see whether they are found:\n"
        rows = [(name, about["states_that_lost_something"], about["states_opened"]) for name, about in planted.items()]
        yield from table(("left out", "states that lost something", "states opened"), rows)


def faults(run: Json) -> Iterator[str]:
    """Failing calls, full disks and the like."""
    rows = [(kind, _faults(about), len(about.get("wrong", ()))) for kind, about in run["kinds"].items()]
    yield from table(("kind", "counts", "wrong"), rows)


def _faults(about: Json) -> str:
    if "left_out" in about:
        return f"left out: {about['left_out']}"
    return ", ".join(f"{_number(value)} {key.replace('_', ' ')}" for key, value in about.items() if key != "wrong")


def flips(run: Json) -> Iterator[str]:
    """Damaged bytes."""
    yield (
        "One bit flipped, a page of zeros, two pages swapped, a file cut short, in a random place of every kind of "
        "file. A wrong answer, a traceback or a dead process would have a column; `missed` is what no answer can show "
        "(see above) and `funnel verify` finds.\n"
    )
    outcomes = sorted({name for counts in run["outcomes"].values() for name in counts})
    rows = [(file, *(counts.get(name, "") for name in outcomes)) for file, counts in sorted(run["outcomes"].items())]
    yield from table(("file", *outcomes), rows)
    repairs = ", ".join(f"{count} {name}" for name, count in run["repairs"].items())
    yield f"{run['cases']:,} cases. What `funnel repair` made of those that `funnel verify` found: {repairs}.\n"


def loads(run: Json) -> Iterator[str]:
    """Open-loop load."""
    if run["command"].startswith("taskset"):
        yield "Server and clients shared one core; where the clients were late, both were overtaxed.\n"
    head = ("times the capacity", "offered/s", "accepted/s", "p50 ms", "p99 ms", "refused with 503", "other errors")
    head += ("clients late, p99 ms",)
    yield from table(head, [_level(level) for level in run["levels"]])
    beside = run["searches_beside_an_ingest"]
    yield f"Searches beside an ingest at full speed: p99 {beside['p99_ratio']} times that of a quiet service.\n"
    yield from (
        f"- {'kept' if held else 'NOT KEPT'}: {promise.replace('_', ' ')}" for promise, held in run["kept"].items()
    )
    memory, rest = run["server"]["anonymous_mib"], run["server"]["at_rest"]
    yield (
        f"- anonymous memory after the warm-up {memory['after_warm_up']:.0f} MiB, at the end "
        f"{memory['at_the_end']:.0f}; files open at rest, before and after, {rest['files'][0]} and {rest['files'][1]}, "
        f"threads {rest['threads'][0]} and {rest['threads'][1]}\n"
    )


def _level(level: Json) -> tuple[object, ...]:
    took, errors = level["accepted_ms"], sum(level["other_errors"].values())
    offered, accepted = level["offered_per_second"], level["accepted_per_second"]
    refused, late = f"{level['refused_share']:.1%}", level["generator_lag_p99_ms"]
    return level["multiple"], offered, accepted, took["p50"], took["p99"], refused, errors, late


def hostile(run: Json) -> Iterator[str]:
    """Hostile, slow and broken clients."""
    rows = [(case["promise"].split("\n")[0], case["seconds"], case["peak_growth_mib"]) for case in run["cases"]]
    yield from table(("promise", "seconds", "memory it took, MiB"), rows)


def starts(run: Json) -> Iterator[str]:
    """Cold starts."""
    steps = sorted({key for start in run["starts"] for key, value in start.items() if isinstance(value, int | float)})
    rows = [(step.replace("_", " "), *(_number(start.get(step)) for start in run["starts"])) for step in steps]
    yield f"{run['documents']:,} documents of {run['dim']} numbers ({run['vectors']}), files out of the page cache.\n"
    yield from table(("", *(f"run {n}" for n in range(1, len(run["starts"]) + 1))), rows)


def fuzz(run: Json) -> Iterator[str]:
    """The long lane."""
    counts = Counter(result["status"] for result in run["results"])
    yield ", ".join(f"{count} {status}" for status, count in counts.items()) + "; figures of each:\n"
    rows = [(f"`{r['test'].removeprefix('tests/')}`", r["status"], _recorded(r)) for r in run["results"]]
    yield from table(("test", "status", "figures"), rows)


def _recorded(result: Json) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result["figures"].items()) or result["reason"]


def commands(runs: Any) -> Iterator[str]:
    """What was run, and at which commit."""
    for run in runs:
        yield f"`{run['command']}` at commit {run['commit'][:7]}."
    yield ""


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value or "")


SECTIONS = (
    ("power-loss", "Power failures", power),
    ("faults", "Faults", faults),
    ("bitflips", "Damaged files", flips),
    ("load", "Ten minutes of load", loads),
    ("load-hour", "An hour of load", loads),
    ("hostile", "Hostile clients", hostile),
    ("start", "A cold start", starts),
    ("long-tests", "All long tests", fuzz),
)

if __name__ == "__main__":
    main()

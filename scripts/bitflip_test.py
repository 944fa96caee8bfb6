#!/usr/bin/env python
"""Damages files of a directory, one at a time, and counts what becomes of it. Exits with 1 if anything was wrong.

Each case damages one file of a fresh copy: a flipped bit, a page of zeros, two pages swapped, an end cut off. Then
it is opened and asked for everything, verified, and repaired, each in a process of its own with bounded memory:

    python scripts/bitflip_test.py --cases 2000
    python scripts/bitflip_test.py --seed 17        # one case again, told in full

Never may an answer be wrong in silence, or a process die. What is missed in silence (a vector that scores too low, an
entry of the inverted table that is gone) is counted; verify has to find it. A damaged last commit of SQLite's log
cannot be told from one that a power loss cut off: it is counted, too.
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
from bitflips import COUNT, Truth, build, choose, kind_of, outcome
from harness import store_results

from index import documents, opening, results, seal
from index.errors import FunnelError
from index.repair import repair
from index.verify import verify

MEMORY = 4 << 30  # bytes of address space
SECONDS = 120
FAILED = ("wrong", "traceback", "died", "verify died", "repair died", "not found by verify", "not repaired")


def apart(work: Callable[[], Any]) -> Any:
    """The result of `work` in a forked process with bounded memory and time; an error as {"error": text}."""
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        os.close(ours)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.alarm(SECONDS)
        try:
            told = {"result": work()}
        except BaseException:
            told = {"error": traceback.format_exc()}
        os.write(theirs, json.dumps(told).encode()[:60_000])
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(data) if data and status == 0 else {"died": f"status {status}"}


def verified(root: Path) -> bool:
    """Whether verify finds nothing; a refusal is a finding."""
    try:
        return verify(root).ok
    except FunnelError:
        return False


def repaired(root: Path, truth: Truth) -> str:
    """mended (every answer right), lost (documents saved and named, the others right) or refused with a reason."""
    try:
        told = repair(root)
        if told and not verify(root).ok:
            told += repair(root)
    except FunnelError as error:
        return f"refused: {type(error).__name__}"
    saved = [json.loads(line)["id"] for path in root.glob("lost-*.jsonl") for line in path.read_text().splitlines()]
    saved += re.findall(r"in the table and '([^']*)' in the index", "\n".join(told))
    unnamed = sum(int(line.split()[0]) for line in told if line.endswith("have left neither id nor text"))
    left = truth.without(saved)
    said = outcome(root, left)
    if said == "missed" and outcome(root, left.without([f"doc-{COUNT:04}"])) == "right":
        said = "right"  # the last commit, of a log whose end cannot be told from a torn one
    if not verify(root).ok:
        return "not repaired"
    if "the query map is given up" in told:
        return "given up, and said so"  # scores are others without it
    if said == "right":
        return "lost, and named" if saved else "mended"
    log = any("write-ahead log" in line for line in told)
    return "lost, and said so" if (said == "missed" and (unnamed or log)) or log else "not repaired"


def plant(check: str) -> None:
    """Take one of the product's checks away, in memory: a harness that does not see that is worth nothing."""
    nothing = {
        "vectors": (results, "check_vectors"),
        "log": (opening, "check_log_file"),
        "state": (seal, "check_state"),
    }
    if check == "documents":
        documents.is_sound = lambda *fields: True  # type: ignore[assignment]
    else:
        module, name = nothing[check]
        setattr(module, name, lambda *given: None)


def case(bases: list[tuple[Path, Truth]], seed: int, folder: Path, only: str | None = None) -> dict[str, Any]:
    """One case: what was damaged, what became of it, what verify and repair made of it."""
    chance = random.Random(seed)
    base, truth = chance.choice(bases)
    damage = choose(base, chance, only)
    root = folder / "case"

    def fresh() -> Path:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(base, root)
        damage.apply(root)
        return root

    told = _told(apart(lambda: outcome(fresh(), truth)))
    if told == "missed" and kind_of(damage.file) == "log":
        rest = apart(lambda: outcome(fresh(), truth.without([f"doc-{COUNT:04}"])))
        told = "last commit lost" if rest.get("result") == "right" else told
    found = apart(lambda: verified(fresh()))
    sound = found.get("result")
    mended = apart(lambda: repaired(fresh(), truth))
    record = {"seed": seed, "base": base.name, "file": kind_of(damage.file), "kind": damage.kind, "outcome": told}
    record |= {"verify": "sound" if sound else "found" if sound is False else "verify died"}
    record |= {"repair": mended.get("result", "repair died"), "damage": repr(damage)}
    if told in ("missed", "miscounted") and sound:
        record["verify"] = "not found by verify"
    if told == "right" and not sound and sound is not None:
        record["outcome"] = "found by verify only"
    errors = [one[key] for one in (found, mended) for key in ("error", "died") if key in one]
    return record | ({"errors": errors} if errors else {})


def _told(one: dict[str, Any]) -> str:
    if "result" in one:
        return str(one["result"])
    if "error" in one:
        print(one["error"], file=sys.stderr)
    return "traceback" if "error" in one else "died"


def failed(record: dict[str, Any]) -> bool:
    """Whether a case shows a defect."""
    return any(record[part] in FAILED for part in ("outcome", "verify", "repair"))


def prepared(folder: Path) -> list[tuple[Path, Truth]]:
    """A directory that was closed and one that was killed, with what each of them answers."""
    faiss.omp_set_num_threads(1)
    apart(lambda: build(folder / "closed"))
    bases = []
    for base in (folder / "closed", folder / "closed-killed"):
        copy = folder / "truth"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(base, copy)
        bases.append((base, Truth.of(copy)))
    return bases


def campaign(
    seeds: range, show: Callable[[dict[str, Any]], None], only: str | None = None, planted: str | None = None
) -> list[dict[str, Any]]:
    """All cases of these seeds."""
    with tempfile.TemporaryDirectory(prefix="bitflips-") as name:
        folder = Path(name)
        bases = prepared(folder)
        if only == "log":
            bases = bases[1:]
        if planted:
            plant(planted)
        records = []
        for seed in seeds:
            records.append(case(bases, seed, folder, only))
            show(records[-1])
        return records


def table(records: list[dict[str, Any]]) -> str:
    """Outcomes by file, and what repair made of them, as Markdown."""
    names = ["refused at open", "refused at read", "found by verify only", "right", "missed", "miscounted"]
    names += ["last commit lost", "wrong", "traceback", "died"]
    lines = ["| file | cases | " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for kind in [*sorted({record["file"] for record in records}), "all"]:
        mine = [record for record in records if kind in ("all", record["file"])]
        counts = Counter(record["outcome"] for record in mine)
        lines.append(f"| {kind} | {len(mine)} | " + " | ".join(str(counts[name]) for name in names) + " |")
    repairs = Counter(record["repair"] for record in records if record["verify"] != "sound")
    lines += ["", "Repair of what verify found: " + ", ".join(f"{n} {name}" for name, n in repairs.most_common()) + "."]
    return "\n".join(lines)


def counted(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Cases, outcomes by kind of file, and what repair made of what verify found."""
    outcomes: dict[str, Counter[str]] = {}
    for record in records:
        outcomes.setdefault(record["file"], Counter())[record["outcome"]] += 1
    repairs = Counter(record["repair"] for record in records if record["verify"] != "sound")
    return {"cases": len(records), "outcomes": outcomes, "repairs": repairs, "seed": records[0]["seed"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--seed", type=int, help="this one case alone")
    parser.add_argument("--only", help="damage files of this kind alone, such as documents or vectors")
    parser.add_argument("--plant", choices=["vectors", "documents", "log", "state"], help="take this check away")
    parser.add_argument("--out", type=Path, help="store the counts as JSON")
    parser.add_argument("--records", type=Path, help="write every case to this JSON file")
    options = parser.parse_args()
    first, number = (options.seed, 1) if options.seed is not None else (options.from_seed, options.cases)
    began = time.monotonic()

    def show(record: dict[str, Any]) -> None:
        if failed(record) or number == 1:
            print(json.dumps(record, indent=1), flush=True)
        elif (done := record["seed"] - first + 1) % 50 == 0:
            print(f"{done} of {number} cases, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    records = campaign(range(first, first + number), show, options.only, options.plant)
    print(table(records))
    if options.out:
        store_results(options.out, {**counted(records), "seconds": round(time.monotonic() - began)})
    if options.records:
        options.records.write_text(json.dumps(records, indent=1) + "\n")
    return int(any(failed(record) for record in records))


if __name__ == "__main__":
    sys.exit(main())

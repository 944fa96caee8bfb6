#!/usr/bin/env python3
"""Target recalls, their estimates and their cost on real embeddings: docs/recall.md is made of its results.

Every collection is stored in a real index, calibrated on one part of its queries and asked with the other. Parts:
targets (calibrated on queries and on stored documents), doubled (other material added after the calibration), filters,
certificates, cascades. Vectors are kept below .cache/vectors: embedding `all` takes hours on a laptop.

    ./scripts/evaluate_recall.py --data DATA --collection debian-packages --out docs/results/recall-debian.json
    ./scripts/evaluate_recall.py --data DATA --collection squad-dev --model minilm --parts targets
    ./scripts/evaluate_recall.py --data DATA --documents 2000 --queries 600 --calibration 300     a smoke test
    ./scripts/evaluate_recall.py --page                                                     write docs/recall.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

import recall_page
from harness import console, origin, store_results
from recall_collections import MODELS, Case, load_case, stored
from recall_extras import cascades, certificates, doubled, filters
from recall_measures import Truth, calibrated, stored_as_queries, targets

from index.calibrating import Asked

PARTS = ("targets", "doubled", "filters", "certificates", "cascades")


def measure(case: Case, calibration: int, parts: list[str], data: Path) -> dict[str, Any]:
    """All parts of one collection and model."""
    asked, test = case.queries[:calibration], case.queries[calibration:]
    result: dict[str, Any] = {
        "collection": case.name,
        "model": case.model,
        "documents": len(case.documents),
        "dim": case.space.dim,
        "prefix_dim": case.space.prefix_dim,
        "calibration_queries": len(asked),
        "test_queries": len(test),
    }
    if {"targets", "certificates", "cascades"}.intersection(parts):
        with stored(case.space, case.documents) as store:
            result["first_stage"] = store.stats()["shortlist"]["kind"]
            truth = Truth(store, test)
            if "targets" in parts:
                places = truth.places()
                result["queries"] = _targeted(store, Asked(asked, "file", True), truth, places)
                result["stored"] = _targeted(store, stored_as_queries(store, len(asked)), truth, None)
            if "certificates" in parts:
                result["certificates"] = certificates(case, truth)
            if "cascades" in parts:
                result["cascades"] = cascades(truth)
    if "doubled" in parts:
        result["doubled"] = doubled(case, asked, test, data)
    if "filters" in parts:
        result["filters"] = filters(case, asked, test, data)
    return result


def _targeted(store: Any, asked: Asked, truth: Truth, places: Any) -> dict[str, Any]:
    console.print(f"calibrated on {asked.source}")
    told = calibrated(store, asked)
    return told | {"targets": targets(truth, places)}


def kept(path: Path | None, result: dict[str, Any], parts: list[str]) -> dict[str, Any]:
    """The result with the parts that the file has of the same collection and model; each tells what made it."""
    told = origin()
    made = {part: {name: told[name] for name in ("command", "commit")} for part in parts}
    before = json.loads(path.read_text()) if path is not None and path.exists() else {}
    if any(before.get(name) != result[name] for name in ("collection", "model", "documents")):
        return {**result, "made": made}
    measured = {name: found for name, found in result.items() if isinstance(found, (dict, list))}
    return {**result, **before, **measured, "made": before["made"] | made}


def main() -> None:
    """Parse arguments, measure, store; or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of collections in BEIR's layout")
    parser.add_argument("--collection", default="debian-packages", help="a folder below --data, or all")
    parser.add_argument("--model", choices=MODELS, default="bundled")
    parser.add_argument("--documents", type=int, help="the first so many documents")
    parser.add_argument("--queries", type=int, help="the first so many queries")
    parser.add_argument("--calibration", type=int, default=3_000, help="queries that the calibration sees")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    parser.add_argument("--page", action="store_true", help="write docs/recall.md from docs/results/recall-*.json")
    arguments = parser.parse_args()
    if arguments.page:
        recall_page.write()
        return
    if arguments.data is None:
        parser.error("--data is needed, or --page")
    case = load_case(arguments.data, arguments.collection, arguments.model, arguments.documents, arguments.queries)
    console.print(f"{case.name}, {case.model}: {len(case.documents):,} documents, {len(case.queries):,} queries")
    if len(case.queries) <= arguments.calibration:
        parser.error(f"--calibration must be less than the {len(case.queries)} queries, got {arguments.calibration}")
    result = measure(case, arguments.calibration, arguments.parts, arguments.data)
    store_results(arguments.out, kept(arguments.out, result, arguments.parts))


if __name__ == "__main__":
    main()

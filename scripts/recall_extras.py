"""Beside the targets: certificates by width, cascades and pruning, a collection that doubles, filters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import cached, console
from recall_collections import MODELS, Case, add, metadata_of, stored, texts_of
from recall_measures import AT_ONCE, LEAN, TIMED, Truth, calibrated, searched, targets

from app.rotating import RotationSettings, learn, principal
from index.calibrating import Asked
from index.matryoshka import turned
from index.options import StoreOptions
from index.query import Query
from index.store import Store

WIDTHS = (64, 128, 256, 512)
SHORTLISTS = (200, 1_000)
LEARNED_FROM = 10_000  # documents
PROVED = 300  # queries whose certificates are looked for
SELECTIVITIES = (0.001, 0.01, 0.1)
OTHERS = "all"


def certificates(case: Case, truth: Truth) -> list[dict[str, Any]]:
    """Share of queries whose top 1 and top 10 a shortlist of each width proves, by rotation of the prefixes."""
    queries = truth.queries[:PROVED]
    sample = np.asarray(case.documents)[:: max(1, len(case.documents) // LEARNED_FROM)]
    rotations = {"none": None, "pca": principal(sample), "learned": learn(sample, RotationSettings())}
    scores = [
        (queries[start : start + AT_ONCE] @ np.asarray(case.documents).T) for start in range(0, len(queries), AT_ONCE)
    ]
    top = [np.partition(one, -10, axis=1)[:, -10:] for one in scores]
    best = np.sort(np.concatenate(top), axis=1)[:, ::-1]
    records = []
    for name, rotation in rotations.items():
        rows, asked = (turned(np.asarray(part), max(WIDTHS), rotation) for part in (case.documents, queries))
        for width in (one for one in WIDTHS if one < case.space.dim):
            records.append({"rotation": name, "width": width} | _proved(rows[:, :width], asked[:, :width], best))
            console.print(records[-1], highlight=False)
    return records


def _proved(rows: np.ndarray, asked: np.ndarray, best: np.ndarray) -> dict[str, float]:
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    norms = np.linalg.norm(asked, axis=1)
    found: dict[str, float] = {}
    cosines = np.empty((len(asked), len(SHORTLISTS)))
    for place, query in enumerate(asked):
        order = np.partition(units @ (query / norms[place]), [-length for length in SHORTLISTS if length <= len(units)])
        cosines[place] = [order[-min(length, len(units))] for length in SHORTLISTS]
    for column, length in enumerate(SHORTLISTS):
        bound = np.hypot(norms * np.maximum(cosines[:, column], 0), np.sqrt(np.maximum(0, 1 - norms**2)))
        for k in (1, 10):
            found[f"k={k}, shortlist={length}"] = round(float((best[:, k - 1] > bound + 1e-5).mean()), 4)
    return found


def cascades(truth: Truth) -> list[dict[str, Any]]:
    """Single reranks, cascades and early pruning for k=10 on the same queries: recall, numbers read, microseconds.

    Numbers read are those of full vectors, in rows' worth. Pruning is that of IndexRefinePanorama: a row is given up
    when its score so far, and the most that its remaining numbers can add (Cauchy-Schwarz), is below the tenth best.
    """
    some = truth.first(TIMED)
    dim, prefix = truth.store.space.dim, truth.store.space.prefix_dim
    records = []
    for shortlist in (100, 200, 400, 800, 1_600):
        for name, stages in _plans(shortlist, prefix, dim):
            records.append({"plan": name, "shortlist": shortlist} | _planned(some, stages, dim))
        records.append({"plan": "pruned, exactly", "shortlist": shortlist} | _pruned(some, shortlist))
        console.print(records[-3:], highlight=False)
    return records


def _plans(shortlist: int, prefix: int, dim: int) -> Iterator[tuple[str, tuple[tuple[int, int], ...]]]:
    yield f"{prefix} -> {dim}", ((prefix, shortlist),)
    for part in (4, 8):
        kept = max(10, shortlist // part)
        yield f"{prefix} -> 256 -> {dim}, 1 of {part}", ((prefix, shortlist), (256, kept))
    kept = max(10, shortlist // 8)
    yield f"{prefix} -> 128 -> 256 -> {dim}", ((prefix, shortlist), (128, max(kept, shortlist // 2)), (256, kept))


def _planned(some: Truth, stages: tuple[tuple[int, int], ...], dim: int) -> dict[str, float]:
    query = Query(limit=10, stages=stages, **LEAN)
    answers = searched(some.store, some.queries, query)
    read, before = 0.0, 0
    for (_, rows), (width, _) in zip(stages, (*stages[1:], (dim, 0)), strict=True):
        read += rows * (width - before) / dim
        before = width
    micros = np.mean([answer.timing_ms["rerank"] for answer in answers]) * 1e3
    return {
        "recall": round(float(some.recall(answers, 10).mean()), 4),
        "read": round(read, 1),
        "rerank_us": round(micros),
    }


def _pruned(some: Truth, shortlist: int) -> dict[str, float]:
    """What exact pruning would read; its recall is that of the single rerank."""
    view = some.store.view
    levels = [width for width in (64, 128, 256, 512, view.space.dim) if width <= view.space.dim]
    read = []
    for query in some.queries:
        rows, _ = view.shortlist.search(view.prefixes(query[None])[0], shortlist, shortlist, None)
        vectors = view.codec.decode(np.take(view.matrix, rows, axis=0))
        tenth = np.partition(vectors[:10] @ query, 0)[0]
        left, so_far = np.arange(10, len(rows)), 10.0 * view.space.dim
        for start, stop in zip((0, *levels), levels, strict=False):
            so_far += len(left) * (stop - start)
            parts = vectors[left, :stop]
            rest = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", parts, parts)))
            left = left[
                parts @ query[:stop] + rest * np.sqrt(max(0.0, 1 - float(query[:stop] @ query[:stop]))) >= tenth
            ]
        read.append(so_far / view.space.dim)
    return {"read": round(float(np.mean(read)), 1)}


def doubled(case: Case, asked: np.ndarray, test: np.ndarray, data: Path) -> dict[str, Any]:
    """Targets before, after as many other documents came, and after a new calibration."""
    others = _others(case, data)
    with stored(case.space, case.documents, StoreOptions(flat_limit=1 << 40)) as store:
        calibrated(store, Asked(asked, "file", True))
        before = targets(Truth(store, test), ks=(10,))
        add(store, others, len(case.documents))
        told = store.stats()["calibration"]
        truth = Truth(store, test)
        after = targets(truth, ks=(10,))
        calibrated(store, Asked(asked, "file", True))
        return {
            "added": len(others),
            "outdated": told["outdated"],
            "before": before,
            "after": after,
            "recalibrated": targets(truth, ks=(10,)),
        }


def _others(case: Case, data: Path) -> np.ndarray:
    """As many vectors of other texts: those of `all` that are not in the collection, in random order."""
    texts, _ = texts_of(data, OTHERS)
    subject = MODELS[case.model]()
    vectors = cached(subject.key, f"{OTHERS}-documents", texts, subject.documents)
    mine = {text.strip() for text in case.texts}
    rows = [row for row, text in enumerate(texts) if text.strip() not in mine]
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[: len(case.documents)])
    return np.asarray(vectors[chosen])


def filters(case: Case, asked: np.ndarray, test: np.ndarray, data: Path) -> list[dict[str, Any]]:
    """Targets under filters: of random documents, and of a section of the collection where it has sections."""
    known = metadata_of(data, case.name)
    drawn = np.random.default_rng(0).random(len(case.documents))
    metadata = [
        {"random": float(number), "section": known.get(text.strip(), {}).get("section", "-")}
        for number, text in zip(drawn, case.texts, strict=True)
    ]
    records = []
    with stored(case.space, case.documents, metadata=metadata) as store:
        calibrated(store, Asked(asked, "file", True))
        for name, filter in _filters(store, [str(one["section"]) for one in metadata]):
            matching = store.count(filter)
            console.print(f"{name}: {matching:,} documents")
            ks = [k for k in (10, 100) if k * 4 <= matching]
            truth = Truth(store, test[:1_000], filter)
            records.append({"filter": name, "matching": matching, "targets": targets(truth, ks=ks)})
    return records


def _filters(store: Store, sections: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for share in SELECTIVITIES:
        yield f"random {share:.1%}", {"random": {"$lt": share}}
    names, counts = np.unique(sections, return_counts=True)
    if len(names) > 1:
        for share in SELECTIVITIES:
            section = str(names[np.abs(np.log(counts / len(sections) / share)).argmin()])
            yield f"section {section}", {"section": section}

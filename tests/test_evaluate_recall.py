"""scripts/evaluate_recall.py on a small collection, and the page that is made of its results."""

import json
from dataclasses import replace
from pathlib import Path

import evaluate_recall
import numpy as np
import pytest
import recall_page
import recall_plot
from recall_collections import Case, stored
from recall_extras import cascades, certificates
from recall_measures import Truth, stored_as_queries

from index.matryoshka import normalise
from index.space import Space

DIM, PREFIX, DOCUMENTS, QUERIES = 288, 64, 900, 150


@pytest.fixture(scope="module")
def case() -> Case:
    """Clustered vectors with strong first numbers, and queries near some of them."""
    rng = np.random.default_rng(0)
    strength = np.linspace(2, 0.2, DIM)
    centres = rng.standard_normal((60, DIM)) * strength
    documents = centres[rng.integers(0, 60, DOCUMENTS)] + 0.7 * rng.standard_normal((DOCUMENTS, DIM)) * strength
    queries = documents[:QUERIES] + 0.5 * rng.standard_normal((QUERIES, DIM)) * strength
    space = Space(DIM, PREFIX, {"model": "none"})
    texts = [f"text {row}" for row in range(DOCUMENTS)]
    return Case("debian-packages", "bundled", space, texts, normalise(documents), normalise(queries))


@pytest.fixture(scope="module")
def result(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The targets of the case, as JSON gives them back."""
    found = evaluate_recall.measure(case, 100, ["targets"], Path("nowhere"))
    kept = evaluate_recall.kept(None, found, ["targets"])
    again: dict[str, object] = json.loads(json.dumps({**kept, "machine": "a machine"}))
    return again


def test_every_k_and_target_is_measured(result: dict[str, object]) -> None:
    """Recall grows with the target and costs more rows; the best fixed shortlist brings what the descents brought."""
    records = result["queries"]["targets"]  # type: ignore[index]
    assert [(one["k"], one["target"]) for one in records] == [
        (k, target) for k in (1, 10, 100) for target in (0.90, 0.95, 0.98, 0.99)
    ]
    for k in (1, 10, 100):
        mine = [one for one in records if one["k"] == k]
        assert [one["recall"] for one in mine] == sorted(one["recall"] for one in mine)
        assert all(0.75 <= one["recall"] <= 1 and one["fixed"] >= k and one["rows"] >= k for one in mine)
    assert result["queries"]["queries"] == result["stored"]["queries"] == 100  # type: ignore[index]


def test_truth_is_that_of_the_oracle(case: Case) -> None:
    """The best rows are those of a plain product; places count from 1; stored documents leave themselves out."""
    with stored(case.space, case.documents) as store:
        truth = Truth(store, case.queries[:5])
        wanted = np.argsort(-(case.queries[:5] @ case.documents.T), axis=1)[:, :10]
        assert [rows[:10] for rows in truth.rows] == wanted.tolist()
        assert truth.places().min() == 1
        asked = stored_as_queries(store, 20)
        assert asked.own_rows is not None
        np.testing.assert_allclose(asked.vectors, case.documents[asked.own_rows], atol=1e-6)


def test_cascades_read_less(case: Case) -> None:
    """Exact pruning reads at most what a single rerank reads."""
    with stored(replace(case.space, dim=DIM), case.documents) as store:
        records = [one for one in cascades(Truth(store, case.queries[:20])) if one["shortlist"] == 400]
    single, pruned = records[0], records[-1]
    assert single["plan"] == f"{PREFIX} -> {DIM}"
    assert pruned["read"] <= single["read"] + 1e-6


def test_the_page_tells_the_results(result: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables, sentences and a plot for every file of results."""
    (tmp_path / "recall-test.json").write_text(json.dumps(result))
    monkeypatch.setattr(recall_page, "RESULTS", tmp_path)
    monkeypatch.setattr(recall_page, "PAGE", tmp_path / "recall.md")
    monkeypatch.setattr(recall_plot, "PLOTS", tmp_path / "plots")
    recall_page.write()
    page = (tmp_path / "recall.md").read_text()
    assert "## debian-packages, the bundled model" in page
    assert page.count("\n| 10 | 0.9") == 4
    assert (tmp_path / "plots" / "recall-debian-packages-bundled.svg").exists()


def test_parts_of_a_collection_are_kept_together(result: dict[str, object], tmp_path: Path) -> None:
    """A later run adds its parts; one of another collection replaces everything."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps(result))
    same = {name: result[name] for name in ("collection", "model", "documents")}
    merged = evaluate_recall.kept(path, {**same, "filters": []}, ["filters"])
    assert set(merged["made"]) == {"targets", "filters"}
    assert "queries" in merged
    other = evaluate_recall.kept(path, {**same, "documents": 5}, ["filters"])
    assert "queries" not in other


def test_certificates_are_found_where_they_must_be(case: Case) -> None:
    """A query that is a document, most of whose direction is in the prefix, proves its first result."""
    front = case.documents * np.where(np.arange(DIM) < PREFIX, 1.0, 0.02)
    known = replace(case, documents=normalise(front), queries=normalise(front[:20]))
    with stored(known.space, known.documents) as store:
        records = certificates(known, Truth(store, known.queries))
    plain = next(one for one in records if (one["rotation"], one["width"]) == ("none", 64))
    assert plain["k=1, shortlist=200"] == 1.0
    assert all(0 <= value <= 1 for one in records for name, value in one.items() if name.startswith("k="))

"""Evaluation of planted models: where quality breaks is known beforehand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.evaluation import EvaluationSettings, Evaluator
from app.plans import parse_plan
from app.similarity import ScoredPairs
from app.subject import MINILM, Subject, shown_names
from evaluation_cases import at_once, by_table, planted
from index.space import Space

WIDTHS = (16, 8, 4, 2)
SETTINGS = EvaluationSettings(WIDTHS, (10, 20, 60), (parse_plan("rerank"),))


def test_the_planted_bottleneck_is_found() -> None:
    """The first 8 numbers carry everything: 8 holds, 4 breaks, and the funnel over 8 is exact."""
    collection, subject = planted()
    result = Evaluator([subject], [], SETTINGS, at_once).collection(collection)
    model = result["models"]["planted"]
    assert model["bottleneck"] == {"width": 8, "breaks": 4, "wanted": 0.95}
    assert [row["width"] for row in model["widths"]] == [32, *WIDTHS]
    assert [row["trained"] for row in model["widths"]] == [True, True, True, False, False]
    assert model["widths"][2]["share"]["value"] == pytest.approx(1.0, abs=1e-3)
    assert model["widths"][3]["share"]["high"] < 0.95
    assert model["widths"][4]["lost_per_halving"] > 0.1
    assert [row["recall@10"]["value"] for row in model["funnel"]][-1] == 1.0
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_funnel_climbs_to_the_exact_answer() -> None:
    """Where all numbers carry, recall of exact search grows with the shortlist and ends at 1."""
    collection, subject = planted(carrying=32)
    model = Evaluator([subject], [], SETTINGS, at_once, with_bm25=False).collection(collection)["models"]["planted"]
    recall = [row["recall@10"]["value"] for row in model["funnel"]]
    assert recall == sorted(recall)
    assert recall[0] < 0.9 < recall[-1] == 1.0
    assert model["funnel"][-1]["ndcg@10"] == model["exact"]["ndcg@10"]
    assert model["prefix"]["recall@10"]["value"] == pytest.approx(model["widths"][2]["recall@10"]["value"], abs=1e-3)


def test_baselines_have_no_funnel() -> None:
    """A model cut to size, and BM25, which finds a topic by its number."""
    collection, subject = planted()
    other = replace(subject, name="other", key="other")
    baselines = Evaluator([subject], [other], SETTINGS, at_once).collection(collection)["baselines"]
    assert baselines["other"]["bottleneck"]["width"] == 8
    assert "funnel" not in baselines["other"]
    assert baselines["BM25"]["exact"]["ndcg@10"]["value"] == 1.0


def test_fewer_queries_give_wider_intervals() -> None:
    """And the result says how many there were."""
    collection, subject = planted(carrying=32)
    wide = []
    for queries in (10, None):
        settings = EvaluationSettings((8,), (10,), queries=queries)
        result = Evaluator([subject], [], settings, at_once, with_bm25=False).collection(collection)
        ends = result["models"]["planted"]["widths"][1]["recall@10"]
        wide.append((result["queries"], ends["high"] - ends["low"]))
    assert (wide[0][0], wide[1][0]) == (10, 60)
    assert wide[0][1] > wide[1][1]


def test_similarity_by_width() -> None:
    """Pairs whose similarity lives in the first 8 numbers: 8 keeps the correlation, 2 does not."""
    rng = np.random.default_rng(3)
    first, near = rng.standard_normal((2, 1000, 8))
    much = rng.random((1000, 1))
    rows = np.hstack(
        [np.concatenate([first, much * first + (1 - much) * near]), 1e-3 * rng.standard_normal((2000, 24))]
    )
    texts = [f"text {row}" for row in range(2000)]
    embed = by_table(texts, rows)
    subject = Subject("planted", "planted", Space(32, 8), (32, 8), embed, embed)
    pairs = ScoredPairs(texts[:1000], texts[1000:], much[:, 0], "pairs")
    model = Evaluator([subject], [], SETTINGS, at_once).similarity(pairs)["models"]["planted"]
    assert model["bottleneck"]["width"] == 8
    assert model["widths"][0]["spearman"]["value"] > 0.8
    assert model["widths"][2]["share"]["value"] == pytest.approx(1, abs=0.01)
    assert model["widths"][4]["share"]["high"] < 0.95


def test_the_widths_of_a_model() -> None:
    """Those it has of the usual ones and its prefix, or those asked for; the full one is always there."""
    _, subject = planted()
    assert subject.widths(None) == [32, 16, 8]
    assert subject.widths((64, 32, 4)) == [32, 4]


def test_a_folder_is_shown_by_its_last_part(tmp_path: Path) -> None:
    """A long path would push curves and columns out of sight; of two that end alike both keep theirs."""
    paths = [tmp_path / name for name in ("a/tuned", "a/model", "b/model", MINILM)]
    for path in paths:
        path.mkdir(parents=True)
    tuned, one, other, minilm = map(str, paths)
    assert shown_names([tuned, "org/hub-id", one]) == ["tuned", "org/hub-id", "model"]
    assert shown_names([one, other, minilm]) == [one, other, minilm]

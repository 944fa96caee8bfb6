"""`funnel adapt --pairs`: a map of the queries is learned, measured on pairs held out, set when asked for, removed."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.adapting_pairs import blended, compare_maps, divide, without_twins
from app.client import Client
from app.main import create_app
from app.query_maps import QueryMapSettings, VectorPairs, batches, learn_query_map
from app.settings import Settings
from cli_runner import Run, at_work, jsonl, runner
from index.codec import make_codec
from index.errors import InvalidInput
from index.matryoshka import normalise
from test_cli_adapt import DIM, SpreadEmbedder

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = QueryMapSettings((32,), steps=30, batch=128, learning_rate=1e-2)


def askew(number: int = 600, seed: int = 0) -> VectorPairs:
    """Queries that are their documents with the signs of a third of the numbers turned: a linear map mends that."""
    documents = normalise(np.random.default_rng(seed).standard_normal((number, DIM)))
    signs = np.where(np.arange(DIM) % 3 == 0, -1.0, 1.0)
    noise = 0.15 * np.random.default_rng(seed + 1).standard_normal(documents.shape)
    return VectorPairs(normalise(documents * signs + noise), documents, np.arange(number))


def test_a_planted_map_is_found() -> None:
    """nDCG@10 of held-out queries rises beyond doubt at full width; under a rotation that mixes the numbers also in
    the prefix, which has them all in it."""
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((DIM, DIM)))[0].astype(np.float32)
    settings = replace(SETTINGS, steps=60, learning_rate=2e-2)
    for rotation in (None, turn):
        found = compare_maps(askew(), askew(400, seed=9).documents, settings, rotation)
        assert found.helps
        assert found.after[0].mean() > found.before[0].mean() + 0.08
        assert found.documents == 1000
    assert found.gains[1].low > 0


def test_a_map_of_pairs_that_say_nothing_does_not_help() -> None:
    """Queries paired with documents at random are answered no better."""
    pairs = askew()
    shuffled = VectorPairs(pairs.queries, pairs.documents, np.random.default_rng(3).permutation(600))
    assert not compare_maps(shuffled, pairs.documents[:0], SETTINGS).helps


def test_holding_keeps_the_map_near_the_identity() -> None:
    """The more it is held, the less it moves; the same seed gives the same map."""
    loose, same, held = (
        learn_query_map(askew(), QueryMapSettings((32,), 10, 64, 1e-2, hold=hold)) for hold in (0.0, 0.0, 1e4)
    )
    np.testing.assert_array_equal(loose, same)
    assert np.abs(held - np.eye(DIM)).mean() < 0.5 * np.abs(loose - np.eye(DIM)).mean()


def test_no_document_stands_twice_in_a_batch() -> None:
    """It would be a wrong answer to the other query."""
    pairs = askew()
    doubled = VectorPairs(pairs.queries, pairs.documents, np.arange(600) // 2)
    _, documents = next(batches(doubled, SETTINGS))
    rows = documents["sentence_embedding"].numpy()
    assert len(rows) == len(np.unique(rows, axis=0)) == 128


def test_documents_of_held_out_pairs_are_not_learned_from() -> None:
    """Even if other queries have them too; too few pairs are refused with both numbers."""
    pairs = askew()
    doubled = VectorPairs(pairs.queries, pairs.documents, np.arange(600) // 2)
    learning, choosing, asking = divide(doubled, seed=0)
    assert not set(learning.answers) & (set(choosing.answers) | set(asking.answers))
    assert (len(choosing.answers), len(asking.answers)) == (60, 120)
    with pytest.raises(InvalidInput, match="at least 200 pairs, there are 150"):
        divide(askew(150), seed=0)


def test_queries_of_held_out_pairs_are_not_learned_from() -> None:
    """A query with several documents is on one side only: else what was learned from is asked."""
    pairs = askew()
    twice = VectorPairs(pairs.queries[np.arange(600) // 2], pairs.documents, pairs.answers)
    learning, choosing, asking = divide(twice, seed=0)
    held = {query.tobytes() for part in (choosing, asking) for query in part.queries}
    assert not held & {query.tobytes() for query in learning.queries}
    assert len(learning.answers) > 250


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_a_sampled_document_of_a_pair_counts_once(storage: str) -> None:
    """The same vector is the same document, also when one of them, or both, were rounded by the store."""
    documents, codec = askew().documents, make_codec(storage, DIM)
    stored = codec.decode(codec.encode(documents[:50]))
    for known in (documents[:30], stored[:30]):
        np.testing.assert_array_equal(without_twins(stored, known), stored[30:])
    assert len(without_twins(stored[:0], documents)) == 0


def test_a_blend_goes_from_the_identity_to_the_map() -> None:
    """Half a step is half way."""
    np.testing.assert_array_equal(blended(np.full((2, 2), 3.0), 0.5), [[2.0, 1.5], [1.5, 2.0]])


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """400 documents of eight words; the title of each has four of them in other words: "hund7" for "dog7"."""
    rng = np.random.default_rng(0)
    words = rng.integers(40, size=(400, 8))
    documents = [
        {"id": f"d{n}", "text": " ".join(f"dog{w}" for w in row), "title": " ".join(f"hund{w}" for w in row[:5])}
        for n, row in enumerate(words)
    ]
    settings = Settings(data_dir=tmp_path / "served", _env_file=None)
    with at_work(create_app(settings, SpreadEmbedder())) as address, Client(address) as client:
        client.ingest({"id": one["id"], "text": one["text"]} for one in documents)
        (tmp_path / "pairs.jsonl").write_text(
            "".join(json.dumps({"query": one["title"], "id": one["id"]}) + "\n" for one in documents)
        )
        yield address


def query_map_of(url: str) -> dict[str, Any] | None:
    """What is in force."""
    with Client(url) as client:
        found: dict[str, Any] | None = client.rotation()["query_map"]
        return found


def test_a_map_is_learned_set_and_removed(
    funnel: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown first; declined when asked; with --yes it is set; --undo-pairs removes it."""
    learn = ("adapt", "--url", url, "--pairs", tmp_path / "pairs.jsonl", "--steps", 60)
    report = json.loads(funnel(*learn, "--dry-run", "--json").out)
    assert report["helps"]
    assert report["ndcg@10"]["96"]["gain"]["low"] > 0
    assert report["applied"] is False
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    declined = funnel(*learn)
    assert (declined.code, "it was declined" in declined.out) == (1, True)
    assert query_map_of(url) is None
    done = funnel(*learn, "--yes")
    assert done.code == 0
    assert "the map is in force" in done.out
    assert query_map_of(url) is not None
    assert funnel("adapt", "--url", url, "--undo-pairs").out.startswith("the query map is removed")
    assert query_map_of(url) is None
    assert funnel("adapt", "--url", url, "--undo-pairs").out == "there is no query map\n"


def test_titles_are_pairs_too(funnel: Run, url: str) -> None:
    """Of the stored documents; too few are refused."""
    with Client(url) as client:
        client.ingest({"id": f"t{n}", "text": f"dog{n}", "title": f"hund{n}"} for n in range(20))
    refused = funnel("adapt", "--url", url, "--pairs", "titles")
    assert "at least 200 pairs, there are 20" in refused.err
    with Client(url) as client:
        client.ingest({"id": f"t{n}", "text": f"dog{n} dog{n + 1}", "title": f"hund{n} cat"} for n in range(250))
    assert json.loads(funnel("adapt", "--url", url, "--pairs", "titles", "--dry-run", "--json", "--steps", 5).out)


def test_too_few_pairs_are_refused_before_anything_is_opened(funnel: Run, tmp_path: Path) -> None:
    """Both numbers; the directory is not even looked for."""
    pairs = jsonl(tmp_path / "few.jsonl", {"query": "cat", "text": "dog"})
    refused = funnel("adapt", "--data-dir", tmp_path / "absent", "--pairs", pairs)
    assert "at least 200 pairs, there are 1" in refused.err
    assert "absent" not in refused.err


def test_a_file_that_holds_no_pairs_is_refused(funnel: Run, url: str, tmp_path: Path) -> None:
    """The line, what is expected and what was found."""
    refused = funnel("adapt", "--url", url, "--pairs", jsonl(tmp_path / "wrong.jsonl", {"a": "x", "b": "y"}))
    assert "line 1: expected a query in query, anchor" in refused.err
    assert "found a, b" in refused.err

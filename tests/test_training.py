"""Training of a head: it stays orthogonal, it finds structure that is there, and the whole workshop runs."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from app.collections import known_items, read_collection
from app.compose import load_composed
from app.pairs import read_pairs
from app.training import Features, HeadSettings, LossName, draw_batches, laid_out, nearest, train_head
from app.workshop import Workshop, WorkshopSettings

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH = 48
SMALL = HeadSettings(dims=(16, 8), steps=25, batch=32, learning_rate=1e-2)


def unit(rows: np.ndarray) -> np.ndarray:
    """float32 rows of length one."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def planted(seed: int = 0, rank: int = 8, size: int = 200) -> Features:
    """Pairs whose ranking lives in `rank` hidden directions of 48; the others hold faint noise."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    meaning = rng.standard_normal((size, rank))
    near = meaning + 0.1 * rng.standard_normal((size, rank))
    quiet = 0.02 * rng.standard_normal((2, size, WIDTH - rank))
    anchors, positives = (unit(np.hstack([one, rest]) @ turn) for one, rest in zip((meaning, near), quiet, strict=True))
    return Features(anchors, positives, positives[:0])


def prefix_error(head: torch.Tensor, features: Features, dim: int) -> float:
    """Mean difference between the similarities of prefixes and of full vectors."""
    full = features.anchors @ features.positives.T
    prefix = unit(features.anchors @ head.numpy().T[:, :dim]) @ unit(features.positives @ head.numpy().T[:, :dim]).T
    return float(np.abs(full - prefix).mean())


@pytest.mark.parametrize("loss", ["distil", "matryoshka", "both"])
def test_a_trained_head_is_orthogonal(loss: LossName) -> None:
    """Whatever the loss, no inner product of full vectors changes."""
    head = train_head([planted()], HeadSettings(dims=(16, 8), loss=loss, steps=5, batch=16))
    assert (head @ head.T - torch.eye(WIDTH)).abs().max() < 1e-5


def test_planted_structure_is_found() -> None:
    """Where the ranking lives in 8 directions, 8 numbers rank as all 48 do."""
    features = planted()
    assert prefix_error(train_head([features], SMALL), features, 8) < 0.02
    assert prefix_error(torch.eye(WIDTH), features, 8) > 0.1


def test_training_improves_on_its_start() -> None:
    """The loss falls, step by step on average."""
    losses: list[float] = []
    rng = np.random.default_rng(1)
    anchors, positives = (unit(rng.standard_normal((300, WIDTH))) for _ in range(2))
    train_head([Features(anchors, positives, positives[:0])], SMALL, lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_the_seed_decides_the_head() -> None:
    """The same seed gives the same head, another one another."""
    one, same = (train_head([planted()], HeadSettings(dims=(8,), steps=5, batch=16, seed=3)) for _ in range(2))
    other = train_head([planted()], HeadSettings(dims=(8,), steps=5, batch=16, seed=4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_batches_mix_the_sets() -> None:
    """A set four times as large is drawn from twice as often; hard negatives come where there are some."""
    large, small = planted(size=400), planted(size=100)
    large = Features(large.anchors, large.positives, large.positives[:10])
    batch = next(draw_batches([large, small], 3000, np.random.default_rng(0)))
    assert len(batch.anchors) == len(batch.positives) == 3000
    assert len(batch.negatives) == pytest.approx(2000, abs=150)


def test_near_pairs_are_drawn_together() -> None:
    """With three neighbours, a quarter of the pairs is drawn and the others are nearest to them."""
    features = planted(size=400)
    batch = next(draw_batches([features], 400, np.random.default_rng(0), neighbours=3))
    plain = next(draw_batches([features], 400, np.random.default_rng(0)))
    assert len(batch.anchors) == 400
    closest = [np.sort(rows @ rows.T, axis=1)[:, -4].mean() for rows in (batch.positives, plain.positives)]
    assert closest[0] > closest[1]


def test_neighbours_are_the_nearest_and_never_the_row_itself() -> None:
    """Compared with a full sort; a set of two rows has one neighbour each."""
    rows = planted(size=60).positives
    scores = rows @ rows.T - 2 * np.eye(60)
    assert [set(row) for row in nearest(rows, 3)] == [set(row[-3:]) for row in np.argsort(scores, axis=1)]
    assert nearest(rows[:2], 3).tolist() == [[1], [0]]
    assert nearest(rows[:1], 3).shape == (1, 0)


def test_only_the_first_numbers_are_turned() -> None:
    """The others stay as they are and come after half of the turned numbers; the head stays orthogonal."""
    head = train_head([planted()], HeadSettings(dims=(16, 8), steps=5, batch=16), turned=32)
    assert torch.equal(head[16:32, 32:], torch.eye(16))
    assert not head[:16, 32:].any()
    assert not head[32:, 32:].any()
    assert (head @ head.T - torch.eye(WIDTH)).abs().max() < 1e-5
    assert torch.equal(laid_out(torch.eye(WIDTH), WIDTH), torch.eye(WIDTH))


def quietly(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def write_lines(path: Path, lines: list[dict[str, str]]) -> None:
    """A gzipped JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten pairs in two sets, one collection with judgements and one without."""
    words = ["apple", "bridge", "cloud", "drum", "eagle", "forest", "guitar", "harbour", "island", "jungle"]
    lines = [{"anchor": f"what is a {word}", "positive": f"The {word} is described here."} for word in words]
    lines[0]["negative"] = "The pear is described here."
    write_lines(tmp_path / "data" / "first" / "pairs.jsonl.gz", [*lines[:5], {"anchor": " ", "positive": "dropped"}])
    write_lines(tmp_path / "data" / "second" / "pairs.jsonl.gz", lines[5:])
    corpus = [{"_id": word, "title": word, "text": f"All about the {word}."} for word in words]
    write_lines(tmp_path / "data" / "judged" / "corpus.jsonl.gz", corpus)
    write_lines(
        tmp_path / "data" / "judged" / "queries.jsonl.gz", [{"_id": "q", "text": "an eagle"}, {"_id": "r", "text": "x"}]
    )
    (tmp_path / "data" / "judged" / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\teagle\t2\nq\tdrum\t0\n")
    write_lines(tmp_path / "data" / "unjudged" / "corpus.jsonl.gz", corpus)
    return tmp_path / "data"


def test_pairs_and_collections_are_read(data: Path) -> None:
    """Empty sides, queries without judgements and grades of 0 are left out; titles search a corpus alone."""
    pairs = read_pairs(data / "first" / "pairs.jsonl.gz")
    assert (len(pairs), pairs[0].negative, pairs[1].negative) == (5, "The pear is described here.", None)
    judged = read_collection(data / "judged")
    assert (judged.queries, judged.relevant) == (["an eagle"], [{4: 2.0}])
    assert judged.documents[4] == "eagle\nAll about the eagle."
    assert known_items(data / "unjudged").queries[4] == "eagle"


def test_the_workshop_trains_on_ten_pairs(data: Path, tmp_path: Path) -> None:
    """From files to a folder that loads: head, table, settings, and a card with scores and the command."""
    settings = WorkshopSettings(pairs=5, leave_out=("second",))
    seen: list[str] = []
    workshop = Workshop(data, tmp_path / "cache", settings, HeadSettings(dims=(64, 32), steps=2, batch=8))
    workshop.train(lambda what, done, total: seen.append(what))
    scores = workshop.measure(None, quietly)
    workshop.write(tmp_path / "head", scores)
    assert set(scores) == {"second", "judged", "unjudged"}
    assert scores["judged"][768]["mrr@10"] == 1.0
    assert "training" in seen
    card = (tmp_path / "head" / "README.md").read_text()
    assert "scripts/train_matryoshka.py" in card
    assert "| judged | ndcg@10 |" in card
    assert load_composed(tmp_path / "head", device="cpu").encode(["an eagle"]).shape == (1, 768)


def test_a_written_head_is_measured_from_cached_features(data: Path, tmp_path: Path) -> None:
    """Two measurements of a loaded head agree, and the second embeds no text again."""
    workshop = Workshop(data, tmp_path / "cache", WorkshopSettings(), HeadSettings(dims=(64, 32), steps=2, batch=8))
    workshop.train(quietly)
    workshop.write(tmp_path / "head", {})
    measured, written = [], []
    for _ in range(2):
        again = Workshop(data, tmp_path / "cache", WorkshopSettings(), HeadSettings(dims=(64, 32)))
        again.load(tmp_path / "head")
        measured.append(again.measure(["unjudged"], quietly))
        written.append({file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("*.npy")})
    assert measured[0] == measured[1]
    assert written[0] == written[1]


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    """The message names what is looked for."""
    with pytest.raises(FileNotFoundError, match=r"pairs\.jsonl"):
        Workshop(tmp_path, tmp_path / "cache", WorkshopSettings(), HeadSettings()).train(quietly)

"""scripts/benchmark.py: recall, equal recall, ratios; and a small run of real systems in processes of their own."""

import argparse
import json
from pathlib import Path

import benchmark
import benchmark_data
import benchmark_run
import numpy as np
import pytest
from benchmark_data import Collection, Shape, clusters, exact_scores, mix, principal_axes, units
from benchmark_ratios import Point, at_recall, frontier, ratio, worth_repeating
from benchmark_run import Plan, Run
from benchmark_systems import LEFT_OUT, SYSTEMS, Entry, chosen
from benchmark_tables import compared, show


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """600 rows of 96 dimensions that need no data."""
    monkeypatch.setattr(benchmark_data, "CACHE", tmp_path)
    monkeypatch.setattr(benchmark_data, "clusters", lambda rows, queries: clusters(rows, queries, dim=96))
    return Collection(Shape("clusters", 600, 40, 110), None)


def point(recall: float, *seconds: float) -> Point:
    return Point({"recall": recall}, recall, seconds)


def test_exact_scores() -> None:
    """They are those of a plain product, over any number of blocks."""
    rows, queries = clusters(benchmark_data.BLOCK + 500, 7, dim=24)
    np.testing.assert_allclose(exact_scores(rows, queries), -np.sort(-(queries @ rows.T), axis=1)[:, :100], atol=1e-6)


def test_recall_counts_ties_once_and_nothing_twice(collection: Collection) -> None:
    """All exact rows are 1, a missing one costs 1/k, a repeated one counts once, rows of equal scores are as good."""
    queries = np.load(collection.queries)
    best = np.argsort(-(queries @ collection.matrix.T), axis=1)[:, :10]
    assert collection.recalls(best, 0, 10).tolist() == [1.0] * 40
    short = best.copy()
    short[:, 3] = -1
    np.testing.assert_allclose(collection.recalls(short, 0, 10), 0.9)
    short[:, 3] = short[:, 4]
    np.testing.assert_allclose(collection.recalls(short, 0, 10), 0.9)
    np.testing.assert_allclose(collection.recalls(best[5:7], 45, 10), 1.0)  # queries begin again after the last
    assert collection.recalls(best[:1], 1, 10)[0] < 1  # those of another query are not its own
    tied = queries[0] @ collection.matrix[best[0, 9]]
    collection.matrix = np.concatenate([collection.matrix, collection.matrix[best[0, 9]][None]])
    assert queries[0] @ collection.matrix[600] == pytest.approx(tied, abs=1e-6)
    assert collection.recalls(np.array([[*best[0, :9], 600]]), 0, 10)[0] == 1.0
    with pytest.raises(ValueError, match="rows are below 601"):
        collection.recalls(np.array([[601]]), 0, 1)


def test_frontier() -> None:
    """What is slower with less recall is not on it; settings near it are asked again, and the default always."""
    points = [point(0.9, 1.0), point(0.95, 2.0), point(0.94, 3.0), point(0.94, 2.2), point(0.99, 4.0), point(0.5, 0.5)]
    assert [one.recall for one in frontier(points)] == [0.5, 0.9, 0.95, 0.99]
    default = Point({}, 0.93, (9.0,))
    again = worth_repeating([*points, point(0.3, 0.4), default], 0.8)
    assert [(one.recall, one.mean) for one in again] == [
        (0.9, 1.0), (0.95, 2.0), (0.94, pytest.approx(2.2)), (0.99, 4.0), (0.5, 0.5), (0.93, pytest.approx(9.0)),
    ]  # fmt: skip


def test_equal_recall() -> None:
    """Between two settings in logarithms, by round; never beyond the last one; the fastest where it has enough."""
    points = [point(0.9, 1.0, 2.0), point(0.99, 4.0, 8.0)]
    middle = 1 - 0.1 * 0.1**0.5  # half way between them in the logarithm of what is missed
    np.testing.assert_allclose(at_recall(points, middle), [2.0, 4.0])
    np.testing.assert_allclose(at_recall(points, 0.99), [4.0, 8.0])
    np.testing.assert_allclose(at_recall(points, 0.8), [1.0, 2.0])
    assert at_recall(points, 0.995) is None
    assert at_recall([], 0.9) is None


def test_ratio() -> None:
    """Of paired rounds: noise that both have leaves it; an interval needs three rounds."""
    noise = np.array([1.0, 3.0, 2.0, 5.0])
    assert ratio(2 * noise, noise) == {"value": 2.0, "low": 2.0, "high": 2.0}
    wide = ratio(np.array([1.0, 2.0, 4.0]), np.ones(3))
    assert wide["value"] == 2.0
    assert wide["low"] == 1.0
    assert wide["high"] == 4.0
    assert ratio(np.ones(2), np.ones(2))["low"] is None


def test_synthetic_rows() -> None:
    """Mixtures have norm 1 and lie near the line of two rows; principal axes keep inner products."""
    rows, queries = clusters(300, 5, dim=32)
    made = np.empty((50, 32), dtype=np.float32)
    mix(rows, made, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
    axes = principal_axes(rows)
    np.testing.assert_allclose((rows @ axes) @ (queries @ axes).T, rows @ queries.T, atol=1e-5)
    energy = np.square(units(rows @ axes)).sum(axis=0)
    assert (np.diff(energy) <= 1e-3).all()


def test_systems() -> None:
    """Names are unique; one that is not there is refused with those that are."""
    assert len({entry.name for entry in SYSTEMS}) == len(SYSTEMS)
    assert not {entry.name for entry in SYSTEMS} & set(LEFT_OUT)
    with pytest.raises(KeyError, match=r"there is no system 'funel'; there are .*funnel"):
        chosen(["funel"])


def test_a_run(collection: Collection, tmp_path: Path) -> None:
    """Real processes: recalls, times, memory and ratios are there; who cannot run is named with the reason."""
    missing = Entry("missing", "plain", "benchmark_numpy:Missing", peer=False)
    entries = [*chosen(["funnel", "numpy-funnel"]), missing]
    run = Run(collection, entries, Plan((10,), 1, 30, 0.05, 1), None, reuse=False)
    results = {"collection": collection.describe(), **run.everything(cold=True)}
    results["compared"] = compared(json.loads(json.dumps(results)))
    show(results)
    ours, floor, failed = results["systems"]
    assert "the process ended with 1" in failed["failed"]
    recalls = [one["recall"] for one in floor["settings"]["10"]]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1.0
    targets = [one for one in ours["settings"]["10"] if one["setting"].get("target_recall") == 0.99]
    assert targets[0]["recall"] > 0.9
    assert {} in [one["setting"] for one in ours["settings"]["10"] if one["repeated"]]
    assert ours["cold"]["recall"] >= 0.95
    row = results["compared"]["10"]["0.95"]
    assert row["funnel"]["times_ours"]["value"] == 1.0
    assert row["numpy-funnel"]["ms"] > 0
    assert row["numpy-funnel"]["throughput"] > 0
    for system in (ours, floor):
        assert system["build"]["seconds"] >= 0
        assert system["memory"]["file"] > 0
        assert system["disk_bytes"] >= 600 * 96 * 4


def test_a_memory_cap(collection: Collection) -> None:
    """A process beyond its cap is killed and named, where groups can be made; else that is said."""
    entries = chosen(["numpy-exact"])
    plan = Plan((10,), 1, 5, 0.05, 1)
    found = Run(collection, entries, plan, 4_000_000, reuse=False).everything(cold=False)
    failed = found["systems"][0]["failed"]
    assert "the process ended with -9" in failed or "no control group" in failed


def test_full_disk(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that could fill the disk is not begun."""
    monkeypatch.setattr(benchmark_run, "RESERVE", 10**18)
    found = Run(collection, chosen(["numpy-exact"]), Plan((10,), 1, 5), None, reuse=False).everything(cold=False)
    assert "GB are free" in found["systems"][0]["failed"]


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smoke run names few systems; the rest is as --help says."""
    monkeypatch.setattr("sys.argv", ["benchmark.py", "--smoke", "--k", "10"])
    arguments = benchmark.parsed()
    assert isinstance(arguments, argparse.Namespace)
    assert (arguments.smoke, arguments.k, arguments.rounds) == (True, [10], 5)

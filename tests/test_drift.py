"""When a rotation does not fit its collection any more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import drift as module
from index.rotation import Rotation
from index.store import Store
from index_cases import SPACE, fill, opened, principal, random_rotation, unit_vectors


def spread(count: int, first: bool) -> np.ndarray:
    """(count, 32) unit rows within the first 8 dimensions, or the last 8, of a random basis."""
    basis = random_rotation(seed=2)[:8] if first else random_rotation(seed=2)[-8:]
    rows = np.random.default_rng(count).standard_normal((count, 8)) @ basis
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def told(store: Store) -> dict[str, Any]:
    """The rotation in the statistics."""
    rotation: dict[str, Any] = store.stats()["rotation"]
    return rotation


def test_drift_is_noticed_when_newer_documents_are_of_another_kind(tmp_path: Path) -> None:
    """Their energy in the prefix is far below that of the first; advice has both numbers and the command."""
    first = spread(1_000, first=True)
    with opened(tmp_path / "data") as store:
        assert store.stats()["rotation"] is None
        fill(store, first)
        store.rotate(Rotation(principal(first), (8,), "pca"))
        assert told(store)["energy"] == pytest.approx(1, abs=1e-5)
        fill(store, spread(200, first=True), start=1_000)
        assert told(store)["energy_now"] == pytest.approx(1, abs=1e-5)
        assert (told(store)["drifted"], told(store)["advice"]) == (False, None)
        fill(store, spread(600, first=False), start=1_200)
        assert told(store)["energy_now"] == pytest.approx(0.25, abs=0.01)
        assert told(store)["drifted"]
        assert "25.0%" in told(store)["advice"]
        assert "100.0%" in told(store)["advice"]
        assert "funnel adapt" in told(store)["advice"]
        store.rotate(replace(store.rotation, measured={"again": 1}))  # type: ignore[type-var]
        assert (told(store)["energy_now"], told(store)["drifted"], told(store)["rows"]) == (None, False, 1_800)


def test_a_doubled_collection_is_worth_another_look(tmp_path: Path) -> None:
    """Even when its documents are alike; the number of documents counts, not of rows."""
    V = unit_vectors(400)
    with opened(tmp_path / "data") as store:
        fill(store, V[:200])
        store.rotate(Rotation(principal(V), (8,), "pca"))
        fill(store, V[200:399], start=200)
        assert not told(store)["drifted"]
        fill(store, V[399:], start=399)
        assert told(store)["drifted"]
        assert "400 documents, 200 when" in told(store)["advice"]


def test_rows_are_read_only_after_some_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics are asked for often; a look is taken after every twentieth."""
    looks = []
    real = module.energy_of
    monkeypatch.setattr(module, "energy_of", lambda *args: looks.append(1) or real(*args))  # type: ignore[func-returns-value]
    V = unit_vectors(1_200)
    with opened(tmp_path / "data") as store:
        fill(store, V[:1_000])
        store.rotate(Rotation(principal(V), (8,), "pca"))
        for rows, expected in ((1_050, 0), (1_051, 1), (1_100, 1), (1_104, 2)):
            at = store.view.rows
            fill(store, V[at:rows], start=at)
            told(store)
            told(store)
            assert len(looks) == expected, rows


def test_the_energy_is_that_of_the_prefix_after_another_was_chosen(tmp_path: Path) -> None:
    """The first numbers of a narrower prefix hold less of all documents, old or new: nothing has drifted."""
    V, turn = unit_vectors(2_000), Rotation(random_rotation(), (16, 4), "random")
    with opened(tmp_path / "data", space=replace(SPACE, prefix_dim=16)) as store:
        fill(store, V[:1_500])
        store.rotate(turn)
        wide = told(store)["energy"]
    for prefix_dim in (4, 4, 16):
        with opened(tmp_path / "data", space=replace(SPACE, prefix_dim=prefix_dim)) as store:
            inside = np.square(V[:1_500] @ turn.matrix[:, :prefix_dim]).sum(axis=1).mean()
            assert told(store)["energy"] == pytest.approx(inside, abs=0.02)
            assert store.rotation is not None
            assert (store.rotation.rows, store.rotation.through) == (1_500, 1_500)
            fill(store, V[1_500:], start=1_500)
            assert told(store)["energy_now"] == pytest.approx(inside, abs=0.02)
            assert not told(store)["drifted"]
    assert wide > 0.3

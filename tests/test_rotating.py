"""Learning a rotation: it is orthogonal, finds what is there, goes beyond principal directions, and repeats itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.rotating import (
    Distillation,
    RotationSettings,
    batches,
    best_start,
    default_widths,
    learn,
    nearest_orthogonal,
    principal,
    rate,
)  # fmt: skip
from app.shortlists import nearest, needed, places, recalls
from index.matryoshka import normalise, prefixes
from index.rotation import ORTHOGONAL, orthogonality

pytestmark = pytest.mark.usefixtures("one_thread")

DIM, WIDTH = 96, 32
QUICK = RotationSettings((WIDTH, 16), steps=40, batch=256, learning_rate=1e-2)


def turned(rows: np.ndarray, seed: int = 7) -> np.ndarray:
    """The same rows in a basis in which nothing is in front."""
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((DIM, DIM)))[0]
    return normalise(rows @ turn)


def low_rank(size: int = 1200, rank: int = WIDTH, seed: int = 0) -> np.ndarray:
    """(size, 96) unit rows that live in `rank` hidden directions."""
    rows = np.zeros((size, DIM))
    rows[:, :rank] = np.random.default_rng(seed).standard_normal((size, rank))
    return turned(rows)


def around_one_direction(size: int = 1200, seed: int = 0) -> np.ndarray:
    """(size, 96) unit rows: the same large number everywhere, which tells none from another, and 16 that do."""
    rng = np.random.default_rng(seed)
    rows = 0.01 * rng.standard_normal((size, DIM))
    rows[:, 0] += 1
    rows[:, 1:17] += normalise(rng.standard_normal((size, 16)))
    return turned(rows)


def recall(rows: np.ndarray, matrix: np.ndarray | None, width: int = WIDTH, shortlist: int = 20) -> float:
    """Of the first 200 rows searching the others."""
    queries, documents = rows[:200], rows[200:]
    found = places(queries, documents, nearest(queries, documents), width, matrix)
    return float(recalls(found, [shortlist]).mean())


def test_a_planted_structure_is_found() -> None:
    """Where all is in 32 directions, 32 numbers rank as 96 do; the first 32 without a rotation are far from that."""
    rows = low_rank()
    matrix = learn(rows[200:], QUICK)
    assert recall(rows, None) < 0.6
    assert recall(rows, matrix) > 0.99


def test_prefix_order_is_full_order_on_data_of_few_directions() -> None:
    """Prefix scores equal the full ones, so the order is the same, after principal directions alone."""
    rows = low_rank()
    short = prefixes(rows, WIDTH, principal(rows))
    np.testing.assert_allclose(short[:50] @ short.T, rows[:50] @ rows.T, atol=2e-5)


def test_learning_goes_beyond_principal_directions() -> None:
    """Where the strongest direction tells nothing, it does not take the place of one that does."""
    rows = around_one_direction()
    learned, first = learn(rows[200:], replace(QUICK, widths=(16,))), principal(rows[200:])
    assert recall(rows, first, 16, 10) < 0.85
    assert recall(rows, learned, 16, 10) > 0.95


def test_learning_refines_its_start() -> None:
    """The loss of a batch falls when the scales were right from the beginning."""
    rows, settings = low_rank(rank=DIM, size=600), replace(QUICK, steps=30)
    start, after = best_start(rows, settings), learn(rows, settings)
    losses = []
    for matrix in (start, after):
        full, turned_rows = torch.from_numpy(rows[:300]), torch.from_numpy(rows[:300] @ matrix)
        loss = Distillation(settings.widths, settings.temperature)
        loss.calibrate(full, turned_rows)
        losses.append(loss(full, turned_rows).item())
    assert losses[1] < 0.99 * losses[0]


@pytest.mark.parametrize("dim", [64, 200])
def test_a_rotation_is_orthogonal(dim: int) -> None:
    """To 1e-5 in float32, after principal directions and after learning."""
    rows = normalise(np.random.default_rng(1).standard_normal((500, dim)))
    settings = RotationSettings((32,), steps=10, batch=128, learning_rate=1e-2)
    for matrix in (principal(rows), learn(rows, settings)):
        assert (matrix.dtype, matrix.shape) == (np.float32, (dim, dim))
        assert orthogonality(matrix) < 1e-5


def test_principal_directions_are_ordered_by_strength() -> None:
    """The mean square along each falls."""
    rows = normalise(np.random.default_rng(2).standard_normal((500, DIM)) * np.linspace(2, 1, DIM))
    along = np.square(turned(rows) @ principal(turned(rows))).mean(axis=0)
    assert (np.diff(along) <= 1e-6).all()


def test_any_number_of_steps_has_a_rate() -> None:
    """It rises, falls, and is never above 1 or below 0."""
    for steps in (1, 2, 10, 300):
        rates = [rate(step, steps) for step in range(steps + 1)]
        assert 0 <= min(rates) <= max(rates) <= 1
        assert max(rates[:steps]) > 0.5


def test_the_seed_decides_the_rotation() -> None:
    """The same one gives the same bits, another one other batches and another matrix."""
    rows, short = low_rank(rank=DIM), RotationSettings((16,), steps=5, batch=64)
    one, same = (learn(rows, short) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, learn(rows, RotationSettings((16,), steps=5, batch=64, seed=1)))


def test_progress_counts_every_step_and_may_stop_it() -> None:
    """What the callback raises, Ctrl-C for one, ends the learning at once."""
    seen: list[tuple[int, int]] = []

    def stop_at_three(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(low_rank(300), RotationSettings((16,), steps=50, batch=32), stop_at_three)
    assert seen == [(1, 50), (2, 50), (3, 50)]


def test_a_batch_is_drawn_without_repetition() -> None:
    """And holds all rows where there are no more."""
    drawn = next(batches(40, RotationSettings(batch=64)))
    assert sorted(drawn) == list(range(40))


def test_default_widths() -> None:
    """Powers of two below the full width, and that of the prefix."""
    assert default_widths(384, 64) == (256, 128, 64, 32)
    assert default_widths(1024, 64) == (512, 256, 128, 64, 32)
    assert default_widths(128, 96) == (96, 64, 32)


def test_the_nearest_orthogonal_matrix_of_a_scaled_rotation_is_the_rotation() -> None:
    """Scale is dropped, directions stay."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    np.testing.assert_allclose(nearest_orthogonal(3 * turn), turn, atol=1e-6)


def test_places_and_the_shortlist_needed() -> None:
    """Counted by hand: the share of places within a shortlist is its recall."""
    documents = normalise(np.array([[1, 0, 0], [0.8, 0.6, 0], [0.6, 0, 0.8], [0, 1, 0]]))
    query = normalise(np.array([[1, 0.5, 0]]))
    truth = nearest(query, documents, 2)
    assert sorted(truth[0]) == [0, 1]
    found = places(query, documents, truth, 1)  # the first number alone: 1, 1, 1, 0 after normalising
    assert found.tolist() == [[3, 3]]
    assert recalls(found, [2, 3]).tolist() == [[0.0], [1.0]]
    assert needed(np.array([[1, 2, 3, 40]]), 0.75) == 3


def test_copies_of_one_document_teach_nothing_and_break_nothing() -> None:
    """The rotation is orthogonal all the same."""
    rows = np.repeat(normalise(np.random.default_rng(0).standard_normal((1, 96))), 200, axis=0)
    assert orthogonality(learn(rows, RotationSettings((64, 32), steps=3, batch=64))) <= ORTHOGONAL

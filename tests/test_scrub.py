"""Damage in what nobody asks for is found while the store is open, in idle time."""

import logging
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.busy import ShuttingDown
from app.idle import Idle
from app.scrubbing import Scrubbing
from index.document import Document
from index.store import Store
from index_cases import SPACE, fill, opened, unit_vectors, until
from test_integrity import change, flip

COUNT = 200
V = unit_vectors(COUNT)
NOBODY = Idle(lambda: False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """200 documents in 203 rows, three of them replaced."""
    store = opened(tmp_path / "data")
    fill(store, V, lambda i: {"n": i, "tags": ["a", "b"]})
    store.write([Document(f"d{i:05}", "other") for i in (50, 51, 52)], dict(enumerate(V[:3] * -1)))
    return store


def test_a_sound_store_passes(store: Store) -> None:
    """Every document is looked at; it pauses many times."""
    pauses: list[int] = []
    with store:
        found = store.scrub(lambda: pauses.append(1))
    assert (found.documents, found.damaged) == (COUNT, ())
    assert len(pauses) == 4


def test_every_kind_of_damage_is_found(store: Store) -> None:
    """In vectors, checksums, texts, inverted entries and rows; a dead row is nobody's."""
    with store:
        flip(store.layout.vectors(1), 17 * SPACE.dim * 4)
        flip(store.layout.vectors(1), 51 * SPACE.dim * 4)
        flip(store.layout.checksums(1), 20 * 4)
        change(store.layout, "UPDATE documents SET text = 'x' WHERE row = 30")
        change(store.layout, "DELETE FROM metadata WHERE key = 'n' AND row = 40")
        change(store.layout, "DELETE FROM documents WHERE row = 60")
        assert store.scrub(lambda: None).damaged == (17, 20, 30, 40, 60)
        change(store.layout, "UPDATE documents SET metadata = '{' WHERE row = 41")
        assert 41 in store.scrub(lambda: None).damaged


def test_writes_meanwhile_are_no_damage(store: Store) -> None:
    """Rows that die, change or come while it looks."""
    with store:

        def write() -> None:
            fill(store, V[:2], lambda i: {"n": -i}, start=100)
            store.delete(["d00150"])
            store.update_metadata("d00160", lambda found: {"n": 0})

        assert store.scrub(write).damaged == ()


def test_a_pass_that_is_stopped_ends(store: Store) -> None:
    """By what its pause raises."""

    def stop() -> None:
        raise ShuttingDown

    with store, pytest.raises(ShuttingDown):
        store.scrub(stop)


def test_the_service_looks_by_itself_and_tells(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """In the statistics, in the metrics and, when something is damaged, as an error in the log."""
    registry = CollectorRegistry()
    with store:
        flip(store.layout.vectors(1), 17 * SPACE.dim * 4)
        scrubbing = Scrubbing(store, NOBODY, 1, registry, first=0)
        with caplog.at_level(logging.ERROR):
            until(lambda: (scrubbing.describe() or {})["last_scrub"] is not None)
            until(lambda: bool(caplog.messages))
        scrubbing.close()
        assert scrubbing.describe() == {
            "last_scrub": (scrubbing.describe() or {})["last_scrub"],
            "documents": COUNT,
            "damaged_rows": 1,
            "rows": [17],
        }
    assert "1 rows are damaged, among them 17" in caplog.text
    assert b"funnel_damaged_rows 1.0" in generate_latest(registry)


def test_none_is_made_when_nobody_wants_it(store: Store) -> None:
    """No thread, nothing in the statistics."""
    with store:
        scrubbing = Scrubbing(store, NOBODY, 0, CollectorRegistry())
        assert scrubbing.describe() is None
        assert "scrub" not in {thread.name for thread in threading.enumerate()}
        scrubbing.close()


def test_closing_does_not_wait_for_a_pass(store: Store) -> None:
    """It ends at the next pause, or before the first."""
    with store:
        busy = threading.Event()
        scrubbing = Scrubbing(store, Idle(lambda: bool(busy.set())), 1, CollectorRegistry(), first=0)
        assert busy.wait(60)
        scrubbing.close()
        Scrubbing(store, NOBODY, 1, CollectorRegistry()).close()

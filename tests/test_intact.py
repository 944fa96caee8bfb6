"""Documents that are whole pass, whatever their metadata are; what is checked twice is found."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings

from filter_oracle import metadatas
from index.document import Document
from index.errors import StoreCorrupt
from index.intact import check_intact
from index.layout import Layout
from index_cases import fill, opened, unit_vectors
from test_integrity import change

V = unit_vectors(600)


def checked(layout: Layout, rows: int, check: Callable[[], None] = lambda: None) -> None:
    """The file of a closed store is whole, or else raises."""
    with closing(sqlite3.connect(layout.documents)) as db:
        check_intact(db, rows, check)


@settings(max_examples=30)
@example(metadata={"tags": ["a", "a", 1, 1.0, True], "n": -0.0, "big": 2**63, "none": None, "deep": {"x": [{"y": 1}]}})
@given(metadata=metadatas)
def test_every_metadata_pass(metadata: Mapping[str, Any]) -> None:
    """Values that are listed twice are one entry; numbers come back as SQLite keeps them."""
    with TemporaryDirectory() as folder:
        with opened(Path(folder) / "data") as store:
            store.write([Document("a", "text", metadata=metadata)], {0: V[0]})
        checked(Layout(Path(folder) / "data"), 1)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("UPDATE documents SET metadata = '{\"n\":2}' WHERE row = 17", "in rows 17;"),
        ("UPDATE documents SET content_hash = zeroblob(20) WHERE row > 590", "in rows 591, 592, 593, 594, 595 and 4 "),
        ("INSERT INTO metadata VALUES ('n', 'n', 3, 17)", "inverted metadata"),
        ("DELETE FROM metadata WHERE row = 17", "inverted metadata"),
        ("DELETE FROM documents WHERE row = 17", "599 live rows"),
        ("UPDATE documents SET row = 700 WHERE row = 17", "only 600 rows"),
    ],
)
def test_damage_is_told(tmp_path: Path, sql: str, message: str) -> None:
    """With its rows where they are known."""
    with opened(tmp_path / "data") as store:
        fill(store, V, lambda i: {"n": i})
    checked(store.layout, 600)
    change(store.layout, sql)
    with pytest.raises(StoreCorrupt, match=message):
        checked(store.layout, 600)


def test_it_can_be_stopped(tmp_path: Path) -> None:
    """Every few hundred documents, and then every few hundred entries."""
    with opened(tmp_path / "data") as store:
        fill(store, V, lambda i: {"n": i})
    calls: list[None] = []
    checked(store.layout, 600, lambda: calls.append(None))
    assert len(calls) == 6

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checked(store.layout, 600, stop)

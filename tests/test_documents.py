"""The SQLite file of texts, metadata and state."""

import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from index import documents as table
from index.allowed import Allowed
from index.bits import pack
from index.database import Documents, peek
from index.document import Document
from index.errors import StorageFull, StoreCorrupt, StoreUnavailable
from index.tables import State

INITIAL = State(0, 1, "float32", 0, "{}")
ODD_IDS = ["a", "A", "é", "z", "Z", "🦀", "￿", "10", "9", " ", "a/b", "ab", "b" * 512]


@pytest.fixture
def docs(tmp_path: Path) -> Documents:
    """An empty file."""
    return Documents(tmp_path / "documents.sqlite", INITIAL)


def insert(docs: Documents, *documents: Document, first: int = 0) -> None:
    """Store documents at rows from `first`."""
    with docs.transaction() as db:
        table.insert(db, first, documents)


def test_a_document_comes_back_as_it_was(docs: Documents) -> None:
    """By id and by row, NUL and all; missing ones are left out and order is kept."""
    one = Document("one", "te\0xt 🦀", "ti\0tle", {"k": [1, {"ü": None}], "big": 2**80})
    insert(docs, one, Document("two", "text"))
    with docs.reader() as db:
        two, first = table.by_ids(db, ["two", "none", "one", "\ud800"])
        assert (first.text, first.title, first.metadata, first.row) == (one.text, one.title, one.metadata, 0)
        assert (two.doc_id, two.title, two.metadata) == ("two", None, {})
        assert table.by_rows(db, [1, 7])[1].doc_id == "two"
        assert table.ids_of(db, [0, 1, 2]) == {0: "one", 1: "two"}
        assert table.stored(db, ["one", "\ud800"])["one"].document_hash == one.document_hash
    docs.close()


def test_more_ids_than_sql_parameters(docs: Documents) -> None:
    """Long lists are asked for in chunks."""
    insert(docs, *(Document(f"d{i}", "x") for i in range(1_201)))
    with docs.reader() as db:
        ids = [f"d{i}" for i in range(2_000)]
        assert [d.doc_id for d in table.by_ids(db, ids)] == ids[:1_201]
        assert len(table.ids_of(db, range(1_201))) == 1_201
        assert table.live_mask(db, 1_201).all()
    docs.close()


def test_live_rows_are_listed_in_parts(docs: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many texts the list of rows takes, and when there are none."""
    with docs.reader() as db:
        assert not table.live_mask(db, 0).size
        assert not table.live_mask(db, 2).any()
    insert(docs, *(Document(f"d{i}", "x") for i in range(50)))
    with docs._writer as db:
        db.execute("DELETE FROM documents WHERE row IN (7, 49)")
    for most in (10, 49, 1_000):
        monkeypatch.setattr(table, "JOINED", most)
        with docs.reader() as db:
            assert np.flatnonzero(~table.live_mask(db, 50)).tolist() == [7, 49]
    docs.close()


@pytest.mark.parametrize("filtered", [None, "few", "many"])
def test_pages_are_in_the_order_of_utf8_bytes(
    docs: Documents, filtered: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether rows are filtered or not, and however; pages join without a gap or a repetition."""
    if filtered == "many":
        monkeypatch.setattr(table, "FEW", 0)
    insert(docs, *(Document(doc_id, "x") for doc_id in ODD_IDS))
    wanted = np.arange(len(ODD_IDS)) % 3 != 1 if filtered else np.ones(len(ODD_IDS), dtype=bool)
    allowed = Allowed(pack(wanted), int(wanted.sum()), len(wanted)) if filtered else None
    expected = sorted((i for i, keep in zip(ODD_IDS, wanted, strict=True) if keep), key=str.encode)
    seen: list[str] = []
    with docs.reader() as db:
        while page := table.page(db, seen[-1] if seen else None, 4, allowed):
            seen += page
    assert seen == expected
    docs.close()


def test_removing_and_changing_metadata_leave_no_entry_behind(docs: Documents) -> None:
    """The inverted table holds what the documents hold, and nothing else."""
    before = Document("a", "t", metadata={"x": [1, 1.0, True, "1", None, {"y": 2}], "big": 10**400})
    insert(docs, before, Document("b", "t", metadata={"x": 1}))
    with docs.transaction() as db:
        after = Document("a", "t", metadata={"x": 2})
        table.replace_metadata(db, table.stored(db, ["a"])["a"], after.metadata_json)
        assert db.execute("SELECT * FROM metadata ORDER BY row").fetchall() == [("x", "n", 2, 0), ("x", "n", 1, 1)]
        table.remove(db, table.stored(db, ["a"])["a"])
        assert db.execute("SELECT * FROM metadata").fetchall() == [("x", "n", 1, 1)]
        assert table.by_ids(db, ["a"]) == []
    docs.close()


def test_a_reader_sees_one_moment(docs: Documents) -> None:
    """A commit during a read transaction is not seen in it, and is in the next."""
    insert(docs, Document("a", "t"))
    with docs.reader() as db:
        assert table.live_mask(db, 1).sum() == 1
        insert(docs, Document("b", "t"), first=1)
        assert len(table.ids_of(db, [0, 1])) == 1
    with docs.reader() as db:
        assert len(table.ids_of(db, [0, 1])) == 2
    docs.close()


def test_a_failing_transaction_changes_nothing(docs: Documents) -> None:
    """The error comes out and everything is rolled back."""

    def insert_and_fail() -> None:
        with docs.transaction() as db:
            table.insert(db, 0, [Document("a", "t")])
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_fail()
    with docs.reader() as db:
        assert table.by_ids(db, ["a"]) == []
    insert(docs, Document("a", "t"))
    docs.close()


def test_a_full_disk_is_storage_full_and_passes(docs: Documents) -> None:
    """SQLite ends the transaction itself; when there is room again, writing goes on."""
    docs._writer.execute("PRAGMA max_page_count=12")
    with pytest.raises(StorageFull):
        insert(docs, *(Document(f"d{i}", "x" * 3_000) for i in range(100)))
    docs._writer.execute("PRAGMA max_page_count=100000")
    insert(docs, *(Document(f"d{i}", "x" * 3_000) for i in range(100)))
    docs.close()


def test_two_documents_at_one_row_are_not_silently_one(docs: Documents) -> None:
    """A disagreement of memory and file stops the writes."""
    insert(docs, Document("a", "t"))
    with pytest.raises(StoreUnavailable, match="UNIQUE"):
        insert(docs, Document("b", "t"))
    docs.close()


def test_readers_that_come_too_late_are_told(docs: Documents) -> None:
    """Closing waits for readers at work; later ones get StoreUnavailable, all of them, and none hangs."""
    entered, leave = threading.Event(), threading.Event()

    def read() -> None:
        with docs.reader() as db:
            entered.set()
            leave.wait(60)
            assert db.execute("SELECT 1").fetchone() == (1,)

    reader = threading.Thread(target=read)
    closer = threading.Thread(target=docs.close)
    reader.start()
    assert entered.wait(60)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    leave.set()
    closer.join(60)
    reader.join(60)
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match="closed"), docs.reader():
            pass


def test_readers_that_slip_in_while_it_closes_are_told(docs: Documents) -> None:
    """Those past the gate find no connection, and hand that on to the next."""
    docs.close()
    docs._closing = False
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="closed"), docs.reader():
            pass


def test_a_failing_read_gives_its_connection_back(docs: Documents) -> None:
    """More failures than there are connections do not exhaust them."""
    for _ in range(20):
        with pytest.raises(StoreCorrupt), docs.reader() as db:
            db.execute("SELECT nothing FROM nowhere")
    docs.close()


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, None])
def test_what_is_no_file_of_ours_is_corrupt(tmp_path: Path, content: bytes | None) -> None:
    """Empty, foreign or missing: an error that names the file."""
    path = tmp_path / "odd%20name?#.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="odd%20name"):
        Documents(path)
    with pytest.raises(StoreCorrupt, match="odd%20name"):
        peek(path)


def test_a_document_past_the_committed_rows_is_corrupt(docs: Documents) -> None:
    """The rows of the state bound those of the documents."""
    insert(docs, Document("a", "t"), first=3)
    with docs.reader() as db, pytest.raises(StoreCorrupt, match="row 3, but only 3 rows"):
        table.live_mask(db, 3)
    docs.close()


def test_commits_are_durable(docs: Documents) -> None:
    """The writer's connection syncs its log at every commit."""
    assert docs._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert docs._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    docs.close()
    with sqlite3.connect(docs.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()

"""What is read is checked: a flipped bit is refused with its row or id, never answered from."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from filter_oracle import filters, matches, metadatas
from index import filters as module
from index.document import Document
from index.errors import StoreCorrupt
from index.integrity import check_scores
from index.layout import Layout
from index.options import StoreOptions
from index.query import Query
from index.store import Store
from index_cases import GRAPH, SPACE, fill, opened, unit_vectors, until

COUNT = 200
V = unit_vectors(COUNT)
FLAT = StoreOptions(shortlist_index="flat")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A closed store of 200 documents, one of them deleted."""
    with opened(tmp_path / "data") as store:
        fill(store, V, lambda i: {"n": i, "even": i % 2 == 0})
        store.delete(["d00150"])
    return Layout(tmp_path / "data")


def change(layout: Layout, sql: str) -> None:
    """What a fault of the disk does: no trigger sees it."""
    db = sqlite3.connect(layout.documents)
    with db:
        kept = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in kept:
            db.execute(f"DROP TRIGGER {name}")
        db.execute(sql)
        for _, definition in kept:
            db.execute(definition)
    db.close()


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Change one bit of a file, in place: a mapping of it sees that too."""
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ 1 << bit]))


def swap_ids(layout: Layout) -> None:
    """Two documents change their ids in the table, and the index of the ids stays as it is."""
    db = sqlite3.connect(layout.documents)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'documents'").fetchone()
    db.close()
    data = bytearray(layout.documents.read_bytes())
    for start in range((root - 1) * 4096, len(data)):  # the table's own copies have the text behind them
        for old in (b"d00017text of", b"d00018text of"):
            if data[start : start + 13] == old:
                data[start : start + 6] = b"d00018" if old[:6] == b"d00017" else b"d00017"
                break
    layout.documents.write_bytes(data)


@pytest.mark.parametrize("query", [Query(limit=5, shortlist=50), Query(limit=5, exact=True)], ids=["funnel", "exact"])
@pytest.mark.parametrize("bit", [0, 6])
def test_a_damaged_vector_is_not_answered_with(layout: Layout, query: Query, bit: int) -> None:
    """A flip of the lowest bit or of the exponent, while the store is open, is named; others are found."""
    with opened(layout.root) as store:
        flip(layout.vectors(1), 17 * SPACE.dim * 4 + (0 if bit == 0 else 3), bit)
        with pytest.raises(StoreCorrupt, match=r"in rows 17; .*`funnel repair`"):
            store.search(V[17], query)
        if bit == 0:
            assert store.search(V[16] * -1, query)[0].hits[0].doc_id != "d00017"
        with pytest.raises(StoreCorrupt, match="rows 17"):
            store.get(["d00017"], with_vector=True)
        assert store.get(["d00017"])[0].text == "text of d00017"


def test_a_damaged_live_vector_is_refused_at_the_start(layout: Layout) -> None:
    """All prefixes are made from it there; a dead one is nobody's."""
    flip(layout.vectors(1), 150 * SPACE.dim * 4 + 3, 6)
    with opened(layout.root) as store:
        assert store.search(V[3], Query(limit=1, shortlist=199))[0].hits[0].doc_id == "d00003"
    flip(layout.vectors(1), 17 * SPACE.dim * 4)
    flip(layout.checksums(1), 20 * 4)
    with pytest.raises(StoreCorrupt, match="in rows 17, 20; "):
        opened(layout.root)


def test_a_start_with_a_graph_reads_no_old_vectors_and_a_search_finds_the_damage(tmp_path: Path) -> None:
    """The graph is as it was saved; the row is refused when it is wanted."""
    rows = unit_vectors(1_200)
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, rows)
        until(lambda: any(store.layout.collection.glob("shortlist-*.faiss")))
    flip(Layout(tmp_path / "data").vectors(1), 17 * SPACE.dim * 4)
    with opened(tmp_path / "data", GRAPH) as store, pytest.raises(StoreCorrupt, match="rows 17"):
        store.search(rows[17], Query(limit=5, shortlist=100))


def test_lost_checksums_are_refused_at_the_start(layout: Layout) -> None:
    """With both numbers."""
    layout.checksums(1).write_bytes(layout.checksums(1).read_bytes()[:-4])
    with pytest.raises(StoreCorrupt, match="796 bytes, 800 are needed for 200 rows"):
        opened(layout.root)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE documents SET text = 'text of d00117' WHERE row = 17",
        "UPDATE documents SET title = '' WHERE row = 17",
        """UPDATE documents SET metadata = '{"even":false,"n":16}' WHERE row = 17""",
        "UPDATE documents SET metadata = '{' WHERE row = 17",
        "UPDATE documents SET text = x'00ff' WHERE row = 17",
        "UPDATE documents SET metadata = x'7b7d' WHERE row = 17",
        "UPDATE documents SET text = CAST(x'ff' AS TEXT) WHERE row = 17",
        "UPDATE documents SET content_hash = x'' WHERE row = 17",
        "UPDATE documents SET content_hash = 'a' WHERE row = 17",
        "UPDATE documents SET document_hash = zeroblob(16) WHERE row = 17",
    ],
)
def test_a_damaged_document_is_not_returned(layout: Layout, sql: str) -> None:
    """By search, get or scroll; others are. It can be replaced or deleted, and then all is well."""
    change(layout, sql)
    with opened(layout.root) as store:
        for call in (
            lambda: store.search(V[17], Query(limit=1)),
            lambda: store.get(["d00017"]),
            lambda: store.scroll(5, after="d00016"),
        ):
            with pytest.raises(StoreCorrupt):
                call()
        assert store.search(V[18], Query(limit=1))[0].hits[0].text == "text of d00018"
        assert store.delete(["d00017"]) == 1
        fill(store, V[17:18], start=17)
        assert store.search(V[17], Query(limit=1))[0].hits[0].text == "text of d00017"
        assert store.count({"n": 17}) == 0
    from index.verify import verify

    assert verify(layout.root).ok, verify(layout.root).checks


def test_ids_that_changed_places_are_noticed(layout: Layout) -> None:
    """No hash covers an id, but SQLite's index has a second copy."""
    swap_ids(layout)
    with opened(layout.root) as store:
        for call in (
            lambda: store.search(V[17], Query(limit=1, with_text=False, with_metadata=False)),
            lambda: store.get(["d00017"]),
            lambda: store.scroll(30),
        ):
            with pytest.raises(StoreCorrupt, match=r"'d0001[78]'"):
                call()


def test_an_id_that_is_no_text_any_more_is_named(layout: Layout) -> None:
    """As when the type of an entry in the index of the ids flips; pages before it are given."""
    change(layout, "UPDATE documents SET doc_id = CAST(doc_id AS BLOB) WHERE row = 17")
    with opened(layout.root) as store:
        with pytest.raises(StoreCorrupt, match="index of the ids is damaged"):
            store.scroll(COUNT)
        assert len(store.scroll(10)[0]) == 10


def test_what_is_written_over_or_deleted_is_the_document_that_was_named(layout: Layout) -> None:
    """Never one that the index of the ids confuses with it; the others can be written."""
    swap_ids(layout)
    with opened(layout.root) as store:
        for call in (
            lambda: store.delete(["d00017"]),
            lambda: fill(store, V[:1], start=18),
            lambda: store.update_metadata("d00017", lambda _: {}),
            lambda: store.changed([Document("d00018", "text")]),
        ):
            with pytest.raises(StoreCorrupt, match=r"'d0001[78]'"):
                call()
        assert store.count() == COUNT - 1
        assert store.delete(["d00016", "d00019"]) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE metadata SET row = 17 WHERE key = 'n' AND row = 16",
        "INSERT INTO metadata VALUES ('n', 'n', 16, 17)",
        "UPDATE metadata SET value = 16 WHERE key = 'n' AND row = 17",
        "UPDATE metadata SET key = 'm' WHERE key = 'n' AND value = 17",
    ],
)
def test_a_damaged_inverted_entry_finds_nothing_that_does_not_match(layout: Layout, sql: str) -> None:
    """Searched, scrolled and deleted by; a filter that does not meet it answers."""
    change(layout, sql)
    found = {"n": {"$in": [16]}} if "'m'" not in sql else {"n": {"$ne": 17}}
    with opened(layout.root) as store:
        for call in (
            lambda: store.search(V[17], Query(limit=199, shortlist=199, filter=found)),
            lambda: store.search(V[17], Query(limit=199, exact=True, filter=found, with_metadata=False)),
            lambda: store.scroll(199, filter=found),
            lambda: store.delete_where(found),
        ):
            with pytest.raises(StoreCorrupt, match=r"inverted metadata of the document 'd00017' \(row 17\)"):
                call()
        assert store.count() == 199
        assert store.search(V[30], Query(limit=1, filter={"n": 30}))[0].hits[0].doc_id == "d00030"


def test_metadata_that_changes_during_a_search_is_no_damage(layout: Layout) -> None:
    """The search is repeated on the newer view, and leaves out what does not match any more."""
    with opened(layout.root) as store:
        searcher = store._searcher
        view, matching = store.view, searcher._matching
        kept = matching.allowed(view, module.parse({"even": True}))
        store.update_metadata("d00016", lambda found: {"n": 16, "even": False})
        seen = []

        def stale(newest: object, node: object, exclude: object, strict: bool) -> object:
            seen.append(newest)
            return kept

        searcher._matching = type("Stale", (), {"allowed": staticmethod(stale)})()
        searcher._newest = lambda: view
        (answer,) = searcher.search(V[16], Query(limit=10, shortlist=199, filter={"even": True}))
        assert len(seen) > 1  # it was repeated before anything was left out
        assert "d00016" not in {hit.doc_id for hit in answer.hits}
        assert len(answer.hits) == 9


def test_a_live_row_without_a_document_is_damage_unless_something_was_committed(layout: Layout) -> None:
    """Nothing is left out in silence."""
    with opened(layout.root) as store:
        change(layout, "DELETE FROM documents WHERE row = 17")
        with pytest.raises(StoreCorrupt, match="live documents are missing, in rows 17"):
            store.search(V[17], Query(limit=1))
        fill(store, V[:1], start=500)


def test_scores_of_unit_vectors_pass_and_others_do_not() -> None:
    """NaN, Inf and what is beyond rounding, of one query or of several."""
    rows = np.array([4, 7, 9])
    check_scores(rows, np.array([1.004, -1.0, 0.0], dtype=np.float32))
    check_scores(rows[:0], np.empty((2, 0), dtype=np.float32))
    for value in (np.nan, np.inf, -np.inf, 1.2, -3e38):
        with pytest.raises(StoreCorrupt, match="rows 7;"):
            check_scores(rows, np.array([[0.1, 0.2, 0.3], [0.1, value, 0.3]], dtype=np.float32))


@given(metadatas, filters)
def test_a_filter_holds_for_a_document_as_it_does_for_the_oracle(metadata: dict, filter: dict) -> None:
    """The check of a hit never refuses what the inverted table rightly found, nor lets pass what it did not."""
    assert module.matches(module.parse(filter), metadata) == matches(metadata, filter)


def test_every_stored_type_passes(tmp_path: Path) -> None:
    """Scores of the lossiest codec stay within the bound."""
    for storage in ("int16", "bfloat16", "int8"):
        with Store.open(tmp_path / storage, SPACE, StoreOptions(storage=storage)) as store:
            fill(store, V)
            for query in (Query(limit=3, exact=True), Query(limit=3, shortlist=100)):
                assert [a.hits[0].doc_id for a in store.search(V[:20], query)] == [f"d{i:05}" for i in range(20)]

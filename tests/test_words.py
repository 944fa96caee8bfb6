"""The words of the texts: found once they are acknowledged, by their words alone, whatever a question is made of."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embedders import HashEmbedder
from index import words
from index.document import Document
from index.errors import SearchTimeout, StoreCorrupt, WordsBusy
from index.hybrid import Hybrid
from index.query import Answer, Query
from index.store import Store

EMBEDDER = HashEmbedder()
TEXTS = {
    "mongo": "duplicate key error collection: E11000",
    "gtk3": "the toolkit libgtk-3-0 for graphical programs",
    "gtk3-dev": "headers of the toolkit libgtk-3-dev in version 0 for graphical programs",
    "old": "it was mended in release 1.24.3 of the library",
    "new": "it was mended in release 3.24.1 of the library",
    "cafe": "Café crème is served in the Straße",
    "plain": "nothing but ordinary sentences about gardens",
}


def write(store: Store, texts: dict[str, str], **metadata: object) -> None:
    """Store them with vectors of the hashing embedder."""
    documents = [Document(doc_id, text, metadata=metadata) for doc_id, text in texts.items()]
    store.write(documents, dict(enumerate(EMBEDDER.embed_queries(list(texts.values())))))


def search(store: Store, text: str, weight: float | None = None, **asked: object) -> Answer:
    """A hybrid search for a text."""
    query = Query(hybrid=Hybrid((text,), weight), **asked)  # type: ignore[arg-type]
    return store.search(EMBEDDER.embed_queries([text]), query)[0]


def by_words(store: Store, text: str, **asked: object) -> list[str]:
    """Ids of the documents that share a word with a text, best first."""
    hits = [hit for hit in search(store, text, **asked).hits if hit.places and hit.places.words_rank]
    return [hit.doc_id for hit in sorted(hits, key=lambda hit: hit.places.words_rank)]  # type: ignore


FILLERS = {f"f{n}": f"filler{n} sentence{n % 7}" for n in range(120)}  # some of them near to any query
COUNT = len(TEXTS) + len(FILLERS)


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """A store of TEXTS and FILLERS."""
    with Store.open(path / "data", EMBEDDER.space) as store:
        write(store, TEXTS | FILLERS)
        yield store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """One that may be changed."""
    with opened(tmp_path) as store:
        yield store


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One that is only searched."""
    with opened(tmp_path_factory.mktemp("words")) as store:
        yield store


RARE = [("E11000", "mongo"), ("e11000", "mongo"), ("libgtk-3-0", "gtk3"), ("1.24.3", "old"), ("3.24.1", "new")]


@pytest.mark.parametrize("weight", [None, 0.5])
@pytest.mark.parametrize(("text", "doc_id"), RARE)
def test_a_rare_exact_token_finds_its_document_first(kept: Store, text: str, doc_id: str, weight: float | None) -> None:
    """By words, and by both."""
    assert by_words(kept, text)[0] == doc_id
    assert search(kept, text, weight, limit=3).hits[0].doc_id == doc_id


@pytest.mark.parametrize("weight", [None, 0.5])
def test_it_does_so_where_the_vectors_put_it_last(store: Store, weight: float | None) -> None:
    """A model that takes the token for the opposite of the document; the shortlist alone would never reach it."""
    asked = EMBEDDER.embed_queries(["E11000"])
    store.write([Document("opposite", "see E11000")], {0: -asked[0]})
    store.delete(["mongo"])
    assert "opposite" not in [hit.doc_id for hit in store.search(asked, Query(shortlist=100, limit=100))[0].hits]
    first = search(store, "E11000", weight, shortlist=100).hits[0]
    assert first.places is not None
    assert (first.doc_id, first.places.words_rank, first.places.vector_rank) == ("opposite", 1, 101)


def test_what_is_acknowledged_is_found_and_what_is_deleted_is_not(store: Store) -> None:
    """By its words, at once, and no more; a replaced text is found by its new words alone."""
    assert by_words(store, "zanzibar") == []
    write(store, {"z": "a port named zanzibar"})
    assert by_words(store, "zanzibar") == ["z"]
    write(store, {"z": "a port named mombasa"})
    assert (by_words(store, "zanzibar"), by_words(store, "mombasa")) == ([], ["z"])
    store.delete(["z"])
    assert by_words(store, "mombasa") == []


@pytest.mark.parametrize("path_of_erasure", ["compact", "reopen", "lost", "damaged", "ahead"])
def test_words_outlive_whatever_happens_to_their_file(store: Store, path_of_erasure: str) -> None:
    """Compactions number rows anew; a file that is lost, damaged or ahead of the documents is made again."""
    store.delete(["plain", *(f"f{n}" for n in range(0, 120, 2))])
    before = [(hit.doc_id, hit.score) for hit in search(store, "filler7 toolkit E11000").hits]
    if path_of_erasure == "compact":
        old = store.layout.words(store.view.generation)
        store.compact()
        assert not old.exists()
        assert before == [
            (hit.doc_id, pytest.approx(hit.score)) for hit in search(store, "filler7 toolkit E11000").hits
        ]
        assert by_words(store, "gardens") == []
        assert b"garden" not in b"".join(path.read_bytes() for path in store.layout.collection.glob("words-*"))
        return
    store.close()
    path = store.layout.words(1)
    assert path.exists()
    if path_of_erasure == "lost":
        path.unlink()
    elif path_of_erasure == "damaged":
        path.write_bytes(b"no database" * 1_000)
    elif path_of_erasure == "ahead":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE done SET rows = 1000000")
        db.close()
    with Store.open(store.layout.root, EMBEDDER.space) as again:
        assert before == [(hit.doc_id, hit.score) for hit in search(again, "filler7 toolkit E11000").hits]
        assert again.stats()["disk_bytes"]["words"] > 0


def test_damage_inside_the_file_is_noticed_and_mended(store: Store) -> None:
    """Pages that make no sense are no answer: the search has to be repeated, and is right then."""
    assert by_words(store, "E11000") == ["mongo"]
    store.close()
    path = store.layout.words(1)
    raw = bytearray(path.read_bytes())
    for page in range(2, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(raw)
    with Store.open(store.layout.root, EMBEDDER.space) as again:
        for _ in range(20):
            try:
                assert by_words(again, "E11000") == ["mongo"]
                break
            except WordsBusy:
                continue
        else:
            raise AssertionError("it was never mended")


HOSTILE = (
    *('"', '""', "'", "a\0b", "NEAR(garden toolkit)", "text:garden", "garden*", "^garden", "-garden", "(", "AND"),
    *("OR NOT", "garden AND nothing", "{text}: garden", "\ud800", "", "_", "'; DROP TABLE words; --", "😀"),
    *("a" * 30_000, "a." * 15_000, "a" * 15_000 + "." + "b" * 15_000),
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_of_a_text_is_syntax(kept: Store, text: str) -> None:
    """Whatever it holds is words, or nothing."""
    assert len(search(kept, text, limit=5).hits) == 5


def test_ten_thousand_words_are_words(kept: Store) -> None:
    """Also those that no document has; the one that some has is found."""
    assert by_words(kept, " ".join(f"w{n}" for n in range(10_000)) + " gardens") == ["plain"]


@pytest.mark.parametrize("text", ["cafe", "CAFÉ", "cafe\u0301", "crèmes"])
def test_case_accents_and_endings_make_no_difference(kept: Store, text: str) -> None:
    """Composed or not."""
    assert by_words(kept, text) == ["cafe"]


def test_a_filter_holds_for_words_too(store: Store) -> None:
    """Only what passes is found, however good others are; what is left out stays out."""
    write(store, {"mine": "E11000 again and again E11000", "yours": "once E11000 among many other words"}, kind="x")
    assert set(by_words(store, "E11000")) == {"mongo", "mine", "yours"}
    assert set(by_words(store, "E11000", filter={"kind": "x"})) == {"mine", "yours"}
    assert by_words(store, "E11000", filter={"kind": "x"}, exclude="mine") == ["yours"]


def test_weights_lead_from_one_order_to_the_other(kept: Store) -> None:
    """At 0 the order is that of the vectors, at 1 that of the words; the scores of both sides are told."""
    text, vectors = "toolkit for gardens", EMBEDDER.embed_queries(["toolkit for gardens"])
    (plain,) = kept.search(vectors, Query(exact=True))
    none, all_of_it = search(kept, text, 0.0, exact=True), search(kept, text, 1.0, exact=True)
    assert [hit.doc_id for hit in none.hits] == [hit.doc_id for hit in plain.hits]
    assert [hit.places.words_rank for hit in all_of_it.hits if hit.places][:3] == [1, 2, 3]
    for hit, one in zip(none.hits, plain.hits, strict=True):
        assert hit.places is not None
        assert hit.places.cosine == pytest.approx(one.score, abs=1e-6)


def test_rrf_is_the_sum_of_both_reciprocal_ranks(kept: Store) -> None:
    """With 60 added to each, as published."""
    answer = search(kept, "toolkit for gardens", limit=20, explain=True)
    assert answer.score_kind == "rrf"
    for hit in answer.hits:
        assert hit.places is not None
        by_word = 0 if hit.places.words_rank is None else 1 / (60 + hit.places.words_rank)
        assert hit.score == pytest.approx(1 / (60 + hit.places.vector_rank) + by_word)
        assert hit.full_rank == hit.places.vector_rank


def test_pages_continue_one_order(kept: Store) -> None:
    """Offset and limit cut one list."""
    whole = [hit.doc_id for hit in search(kept, "sentence3 toolkit", limit=30).hits]
    parts = [hit.doc_id for start in (0, 10, 20) for hit in search(kept, "sentence3 toolkit", offset=start).hits]
    assert parts == whole


def test_a_search_before_the_words_are_there_says_how_many_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers; and it waits no longer than it may."""
    monkeypatch.setattr(words, "PATIENCE", 0.0)
    with pytest.raises(WordsBusy, match=r"the words of 0 of 127 rows"):
        search(store, "gardens")


def test_a_deadline_ends_a_look_at_words(kept: Store) -> None:
    """In the middle of SQLite's work."""
    assert by_words(kept, "gardens") == ["plain"]
    file = kept._words._file
    assert file is not None
    with pytest.raises(SearchTimeout):
        file.ranked(words.Question(" ".join(f"w{n}" for n in range(20_000))), np.ones(COUNT, dtype=bool), 10, 0.0)


def test_a_damaged_text_is_not_indexed(store: Store) -> None:
    """It would hide the damage."""
    with sqlite3.connect(store.layout.documents) as db:
        db.execute("UPDATE documents SET text = 'gardens changed' WHERE doc_id = 'plain'")
    db.close()
    with pytest.raises(WordsBusy, match="do not match their hashes"):
        search(store, "gardens")
    with store._documents.reader() as db, pytest.raises(StoreCorrupt, match="rows 6"):
        words._texts(db, 0, 10)


def test_common_words_are_looked_for_only_where_there_are_no_others() -> None:
    """They take long and change little; the rarest of them stays."""
    counts = SimpleNamespace(all={'"the"': 900, '"of"': 800, '"perl"': 3})
    question = words.Question("The perl of the")
    assert question.expression(lambda part: counts.all.get(part, 0), 100) == '"perl"'
    assert words.Question("the of").expression(lambda part: counts.all.get(part, 0), 100) == '"of"'
    assert words.Question("none").expression(lambda part: counts.all.get(part, 0), 100) == ""


def test_searches_go_on_while_rows_are_numbered_anew(store: Store) -> None:
    """Every answer is right, before, during and after compactions, and finds what was written a moment before."""
    ended, found = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            found.append(by_words(store, "E11000"))

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        for turn in range(5):
            write(store, {f"f{turn}": f"turn{turn} of a mill"})  # the row before dies
            assert store.compact()["erased"] == 1
            assert by_words(store, f"turn{turn}") == [f"f{turn}"]
        ended.set()
        asking.result(60)
    assert found
    assert all(ids == ["mongo"] for ids in found)
    assert [path.name for path in store.layout.collection.glob("words-*.sqlite")] == ["words-6.sqlite"]

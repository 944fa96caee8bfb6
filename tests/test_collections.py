"""Collections as they lie on disk: what is read, what is left out and counted, what is refused."""

from pathlib import Path

import pytest

from app.collections import JUDGED, KNOWN_ITEM, read_collection
from app.rows import RecordError
from evaluation_cases import write_collection, write_lines


@pytest.mark.parametrize("judged", ["qrels.tsv", "qrels/test.tsv"])
def test_a_judged_collection(tmp_path: Path, judged: str) -> None:
    """Texts with their titles, queries that have an answer, grades by position; BEIR's own place for them as well."""
    found = read_collection(write_collection(tmp_path / "notes", judged))
    assert (found.name, found.task, found.ids) == ("notes", JUDGED, ("d1", "d2", "d3"))
    assert found.documents[1] == "sort a li\nsort a list"
    assert (found.queries, found.relevant) == (["date text", "sort list"], [{0: 2.0}, {1: 1.0}])
    assert found.left_out == ("1 queries without a relevant document",)


def test_a_corpus_alone_is_a_known_item_test(tmp_path: Path) -> None:
    """Its titles search its texts; a document without a title is searched and never asked for."""
    rows = [{"_id": "a", "title": "T", "text": "one"}, {"_id": "b", "text": "two"}, {"_id": "c", "text": " "}]
    write_lines(tmp_path / "corpus.jsonl.gz", rows)
    found = read_collection(tmp_path)
    assert (found.task, found.documents, found.queries, found.relevant) == (KNOWN_ITEM, ["one", "two"], ["T"], [{0: 1}])
    assert found.left_out == ("1 documents without text", "1 untitled")


def test_what_does_not_fit_together_is_counted(tmp_path: Path) -> None:
    """Judgements of unknown and of empty documents, and of unknown queries."""
    folder = write_collection(tmp_path / "notes")
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "empty", "text": ""}\n')
    with (folder / "qrels.tsv").open("a") as file:
        file.write("q1\tnowhere\t1\nq1\tgone\t1\nq2\tempty\t1\nq9\td1\t1\n")
    assert read_collection(folder).left_out == (
        "1 documents without text",
        "2 judgements of documents that are not in the corpus",
        "1 judgements of documents without text",
        "1 judged queries that are not in the queries file",
        "1 queries without a relevant document",
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "query-id\tdoc\tscore\nq1\td1\t1\n",
            "expected the columns query-id, corpus-id, score, got query-id, doc, score",
        ),
        ("q1 0 d1 1\n", "got q1 0 d1 1"),
        ("", "got nothing"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tmuch\n", "line 2: a score is a number, got 'much'"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t0.5\n", "line 2: a score is a whole number, got 0.5"),
        ("query-id\tcorpus-id\tscore\nq1\tnowhere\t1\n", "none of its queries has a relevant document"),
    ],
)
def test_judgements_that_cannot_be_used(tmp_path: Path, lines: str, message: str) -> None:
    """The message names what was expected and what was found, and where."""
    folder = write_collection(tmp_path)
    (folder / "qrels.tsv").write_text(lines)
    with pytest.raises(RecordError, match=message):
        read_collection(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [("{", "line 1: not JSON"), ({"text": "x"}, "'_id' must be a text, got nothing"), ({"_id": "a"}, "'text' must")],
)
def test_a_broken_corpus_is_refused_with_its_line(tmp_path: Path, row: object, message: str) -> None:
    """In one line."""
    write_lines(tmp_path / "corpus.jsonl", [row])
    with pytest.raises(RecordError, match=message):
        read_collection(tmp_path)


def test_neither_titles_nor_judgements(tmp_path: Path) -> None:
    """There is nothing to ask."""
    write_lines(tmp_path / "corpus.jsonl", [{"_id": "a", "text": "one"}])
    with pytest.raises(RecordError, match=r"none of its documents has a title, and there is no qrels\.tsv"):
        read_collection(tmp_path)


def test_a_sample_keeps_order_and_answers(tmp_path: Path) -> None:
    """The same for the same seed; all when there are fewer."""
    found = read_collection(write_collection(tmp_path))
    (one,) = found.sampled(1).queries
    assert found.sampled(1).relevant == [found.relevant[found.queries.index(one)]]
    assert found.sampled(1) == found.sampled(1)
    assert found.sampled(2) is found.sampled(None) is found

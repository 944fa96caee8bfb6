"""Scored pairs: files of every kind, and cosines of prefixes."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from app.rows import RecordError
from app.similarity import cosines, read_scored_pairs

ROWS = [("a date", 'the "date', 4.5), ("a list", "a tree", 1.0)]


def test_tabs_and_quotes(tmp_path: Path) -> None:
    """As STSb comes: a quote is text, wherever it stands."""
    (tmp_path / "test.tsv").write_text(
        "sentence1\tsentence2\tscore\n" + "".join(f"{a}\t{b}\t{s}\n" for a, b, s in ROWS)
    )
    found = read_scored_pairs(tmp_path / "test.tsv")
    assert (found.first, found.second, found.scores.tolist()) == (
        ["a date", "a list"],
        ['the "date', "a tree"],
        [4.5, 1],
    )
    assert found.name == tmp_path.name


def test_other_kinds(tmp_path: Path) -> None:
    """CSV and gzipped JSONL, columns in any order; the file's name is part of the name."""
    (tmp_path / "dev.csv").write_text('score,sentence2,sentence1\n4.5,"the ""date",a date\n1,a tree,a list\n')
    with gzip.open(tmp_path / "dev.jsonl.gz", "wt") as file:
        file.write('{"sentence1": "a date", "sentence2": "the \\"date", "score": 4.5}\n')
        file.write('{"sentence1": "a list", "sentence2": "a tree", "score": 1}\n')
    for name in ("dev.csv", "dev.jsonl.gz"):
        found = read_scored_pairs(tmp_path / name)
        assert [*zip(found.first, found.second, found.scores.tolist(), strict=True)] == ROWS
        assert found.name == f"{tmp_path.name}-dev"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("sentence1\tsentence2\na\tb\n", "line 2: expected sentence1, sentence2, score; there is no score"),
        ("sentence1\tsentence2\tscore\na\tb\thigh\n", "line 2: a score is a number, got 'high'"),
        ("sentence1\tsentence2\tscore\na\tb\n", "expected 3 columns, got 2"),
        ("sentence1\tsentence2\tscore\na\tb\t1\n", "needs 2 pairs with different scores, got 1 pairs"),
        ("sentence1\tsentence2\tscore\na\tb\t1\nc\td\t1\n", "needs 2 pairs with different scores, got 2 pairs"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, lines: str, message: str) -> None:
    """With its line."""
    (tmp_path / "test.tsv").write_text(lines)
    with pytest.raises(RecordError, match=message):
        read_scored_pairs(tmp_path / "test.tsv")


def test_an_unknown_kind(tmp_path: Path) -> None:
    """The known ones are named."""
    (tmp_path / "test.txt").touch()
    with pytest.raises(RecordError, match=r"unknown kind of file '\.txt'; known are \.tsv"):
        read_scored_pairs(tmp_path / "test.txt")


def test_cosines_are_those_of_normalised_prefixes() -> None:
    """Computed by hand: at width 1 vectors agree or oppose."""
    first, second = np.array([[0.6, 0.8], [0.6, 0.8]]), np.array([[1.0, 0.0], [-0.6, 0.8]])
    assert cosines(first, second, (2, 1)) == pytest.approx(np.array([[0.6, 0.28], [1, -1]]))

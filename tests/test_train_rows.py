"""Training sets from files: columns found, kinds told apart, rows that cannot be used refused with a reason."""

import csv
import gzip
from pathlib import Path
from typing import Any

import datasets
import pytest

from app.rows import RecordError
from app.train_rows import read_sets
from app.train_settings import Source
from training_data import PAIRS, SCORED, TRIPLETS, write


def shapes(source: Source, **options: Any) -> list[tuple[str, str, int]]:
    """Name, kind and rows of each set."""
    return [(one.name, one.kind, len(one)) for one in read_sets(source, **options)]


def test_the_kind_follows_from_the_columns(tmp_path: Path) -> None:
    """Two texts are pairs, a third makes triplets, a number makes scored pairs."""
    assert shapes(write(tmp_path / "a.jsonl", PAIRS)) == [("a", "pairs", 10)]
    assert shapes(write(tmp_path / "b.jsonl", TRIPLETS)) == [("b", "triplets", 10)]
    assert shapes(write(tmp_path / "c.jsonl", SCORED), score_range=(0, 5)) == [("c", "scored", 10)]


@pytest.mark.parametrize("anchor", ["anchor", "query", "question", "title"])
@pytest.mark.parametrize("positive", ["positive", "text", "answer"])
def test_usual_names_are_known(tmp_path: Path, anchor: str, positive: str) -> None:
    """Whatever else is in a row is left alone."""
    (one,) = read_sets(write(tmp_path / "a.jsonl", [{"id": 7, anchor: "left", positive: "right"}]))
    assert one.columns == {"anchor": ["left"], "positive": ["right"]}


def test_every_format_gives_the_same_set(tmp_path: Path) -> None:
    """JSONL, CSV, TSV, Parquet, .gz, and folders that Hugging Face datasets saved."""
    expected = read_sets(write(tmp_path / "a.jsonl", SCORED), score_range=(0, 5))[0].columns
    for suffix, tab in ((".csv", ","), (".tsv", "\t")):
        with (tmp_path / f"a{suffix}").open("w", newline="") as file:
            table = csv.DictWriter(file, list(SCORED[0]), delimiter=tab)
            table.writeheader()
            table.writerows(SCORED)
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress((tmp_path / "a.tsv").read_bytes()))
    saved = datasets.Dataset.from_list(SCORED)
    saved.to_parquet(tmp_path / "a.parquet")
    saved.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": saved, "test": saved.select([0])}).save_to_disk(str(tmp_path / "split"))
    for name in ("a.csv", "a.tsv", "a.tsv.gz", "a.parquet", "one", "split"):
        assert read_sets(Source(str(tmp_path / name)), score_range=(0, 5))[0].columns == expected, name


def test_a_folder_with_pairs_is_named_after_itself(tmp_path: Path) -> None:
    """As in a collection of training sets, one folder each."""
    write(tmp_path / "wiki" / "pairs.jsonl", PAIRS)
    assert shapes(Source(str(tmp_path / "wiki"))) == [("wiki", "pairs", 10)]
    with pytest.raises(RecordError, match="pairs or train"):
        read_sets(Source(str(tmp_path)))


def test_rows_without_negatives_make_a_set_of_their_own(tmp_path: Path) -> None:
    """Nothing is dropped or invented; the weight is shared by rows."""
    source = Source(write(tmp_path / "a.jsonl", [*TRIPLETS[:6], *PAIRS[6:8]]).path, 4.0)
    assert [(one.name, one.kind, len(one), one.weight) for one in read_sets(source)] == [
        ("a", "triplets", 6, 3.0),
        ("a-pairs", "pairs", 2, 1.0),
    ]


def test_lists_and_numbered_negatives_are_columns(tmp_path: Path) -> None:
    """`negatives: [..]` and `negative_1, negative_2` both give two negatives a row."""
    listed = write(tmp_path / "a.jsonl", [PAIRS[0] | {"negatives": ["x", "y"]}])
    numbered = write(tmp_path / "b.jsonl", [PAIRS[0] | {"negative_1": "x", "negative_2": "y"}])
    for source in (listed, numbered):
        (one,) = read_sets(source)
        assert list(one.columns) == ["anchor", "positive", "negative_1", "negative_2"]


def test_columns_can_be_named(tmp_path: Path) -> None:
    """A third name is a score where it holds numbers, a negative where it holds texts."""
    source = write(tmp_path / "a.jsonl", [{"q": "left", "d": "right", "n": "wrong", "v": "0.5"}])
    assert read_sets(source, ("q", "d", "v"))[0].columns["score"] == [0.5]
    assert read_sets(source, ("q", "d", "n"))[0].columns["negative"] == ["wrong"]
    with pytest.raises(RecordError, match=r"no column 'x'; found q, d, n, v"):
        read_sets(source, ("q", "x"))
    with pytest.raises(RecordError, match="2 names or more, got 1"):
        read_sets(source, ("q",))


def test_unknown_columns_are_refused_with_what_was_found(tmp_path: Path) -> None:
    """The message names the columns there are, those that are looked for, and the option."""
    with pytest.raises(RecordError, match=r"positive \(positive, text.*found query, body.*--columns"):
        read_sets(write(tmp_path / "a.jsonl", [{"query": "left", "body": "right"}]))


def test_scores_are_brought_to_0_and_1(tmp_path: Path) -> None:
    """By the range that was given, not by what happens to be in the file."""
    rows = [SCORED[0] | {"score": score} for score in (1, 2.5, 4)]
    assert read_sets(write(tmp_path / "a.jsonl", rows), score_range=(0, 5))[0].columns["score"] == [0.2, 0.5, 0.8]


def test_scores_outside_are_refused_with_both_ranges(tmp_path: Path) -> None:
    """And with the option that would take them."""
    with pytest.raises(RecordError, match=r"run from 0 to 5, expected 0 to 1; .*--score-range 0,5"):
        read_sets(write(tmp_path / "a.jsonl", SCORED))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"score": "high"}, r"line 2: column 'score' must be a number, got 'high'"),
        ({"sentence1": 7}, r"line 2: column 'sentence1' must be a text, got int"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    """File, line, column and value."""
    with pytest.raises(RecordError, match=reason):
        read_sets(write(tmp_path / "a.jsonl", [SCORED[0], SCORED[1] | row]), score_range=(0, 5))


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    """The first broken line ends the reading: half a file is not what was asked for."""
    (tmp_path / "a.jsonl").write_text('{"anchor": "a", "positive": "b"}\n{"anchor"\n')
    with pytest.raises(RecordError, match="line 2: not JSON"):
        read_sets(Source(str(tmp_path / "a.jsonl")))


def test_empty_sides_are_left_out_and_counted(tmp_path: Path) -> None:
    """Unless nothing is left."""
    (one,) = read_sets(write(tmp_path / "a.jsonl", [PAIRS[0], {"anchor": " ", "positive": "x"}, {"anchor": "y"}]))
    assert (len(one), one.dropped) == (1, 2)
    with pytest.raises(RecordError, match="no row to train on"):
        read_sets(write(tmp_path / "b.jsonl", [{"anchor": "x", "positive": ""}]))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """Before anything is loaded."""
    with pytest.raises(RecordError, match="no such file"):
        read_sets(Source(str(tmp_path / "absent.jsonl")))

"""Kinds of data are told apart by what is there."""

from pathlib import Path

import pytest

from app.collections import Collection
from app.evaluation_data import read_all, read_data
from app.rows import RecordError
from app.similarity import ScoredPairs
from evaluation_cases import write_collection

PAIRS = "sentence1\tsentence2\tscore\na\tb\t1\nc\td\t2\n"


def test_kinds(tmp_path: Path) -> None:
    """A folder with a corpus, a folder with scored pairs, a file of them."""
    write_collection(tmp_path / "notes")
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "test.tsv").write_text(PAIRS)
    (tmp_path / "pairs" / "dev.tsv").write_text(PAIRS)
    assert isinstance(read_data(tmp_path / "notes"), Collection)
    assert isinstance(read_data(tmp_path / "pairs"), ScoredPairs)
    paths = [tmp_path / "notes", tmp_path / "pairs", tmp_path / "pairs" / "dev.tsv"]
    assert [one.name for one in read_all(paths)] == ["notes", "pairs", "pairs-dev"]


def test_neither(tmp_path: Path) -> None:
    """The message says what is looked for, and where it is if it is one level down."""
    with pytest.raises(RecordError, match=r"no corpus\.jsonl\[\.gz\] \(a collection\) or test\.tsv.* in it$"):
        read_data(tmp_path)
    write_collection(tmp_path / "notes")
    with pytest.raises(RecordError, match=r"but there is in .*notes$"):
        read_data(tmp_path)
    with pytest.raises(RecordError, match="there is no such file or folder"):
        read_data(tmp_path / "nowhere")


def test_one_name_for_two(tmp_path: Path) -> None:
    """Results are kept by name, so the second would hide the first."""
    paths = [write_collection(tmp_path / place / "notes") for place in ("a", "b")]
    with pytest.raises(RecordError, match="two are named 'notes'"):
        read_all(paths)

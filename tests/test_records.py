"""Reading documents from files."""

import datetime
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from app.records import Fields, content_id, count, format_of, read
from app.rows import RecordError, number


def documents(path: Path, *arguments: Any) -> list[dict[str, Any] | None]:
    return [record.document for record in read(str(path), *arguments)]


def errors(path: Path) -> list[tuple[int, str | None]]:
    return [(record.line, record.error) for record in read(str(path)) if record.document is None]


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_jsonl_defaults(tmp_path: Path) -> None:
    """`_id` or `id`, text, title and metadata are taken as they are."""
    rows = [{"_id": "a", "title": "A", "text": "one", "metadata": {"n": 1}}, {"id": 7, "text": "two"}]
    expected = [{"id": "a", "title": "A", "text": "one", "metadata": {"n": 1}}, {"id": "7", "text": "two"}]
    assert documents(jsonl(tmp_path / "a.jsonl", *rows)) == expected


def test_other_fields_become_metadata(tmp_path: Path) -> None:
    """A field without a role is kept as metadata, and never dropped in silence."""
    path = jsonl(tmp_path / "a.ndjson", {"id": "a", "text": "t", "year": 1999, "metadata": {"n": 1}})
    assert documents(path) == [{"id": "a", "text": "t", "metadata": {"year": 1999, "n": 1}}]


def test_field_mapping(tmp_path: Path) -> None:
    """Other names for the fields can be given, and a list of metadata fields leaves the others out."""
    path = jsonl(tmp_path / "a.jsonl", {"key": "k", "body": "b", "name": "n", "year": 1, "other": 2})
    fields = Fields(id="key", text="body", title="name", metadata=("year",))
    assert documents(path, fields) == [{"id": "k", "text": "b", "title": "n", "metadata": {"year": 1}}]


def test_missing_id_is_the_content(tmp_path: Path) -> None:
    """Records without an id get the same one each time, and different ones for different contents."""
    path = jsonl(tmp_path / "a.jsonl", {"text": "one"}, {"text": "two"}, {"title": "x", "text": "one"})
    first = [d["id"] for d in documents(path) if d]
    assert first == [d["id"] for d in documents(path) if d]
    assert first == [content_id(None, "one"), content_id(None, "two"), content_id("x", "one")]
    assert len(set(first)) == 3


def test_bad_lines_are_named(tmp_path: Path) -> None:
    """A line that is no document is reported by its number, and the others are still read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":"a","text":"t"}\n{nonsense\n\n[1]\n{"id":"b"}\n\xff\n{"id":true,"text":"t"}\n')
    assert [d["id"] for d in documents(path) if d] == ["a"]
    assert [line for line, _ in errors(path)] == [2, 4, 5, 6, 7]
    assert [error for _, error in errors(path)][1:3] == [
        "not an object but list",
        "field 'text' must be a text, got nothing",
    ]


def test_count_and_gzip(tmp_path: Path) -> None:
    """A gzipped file reads and counts like the plain one; empty lines do not count."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"id":"a","text":"t"}\n\n{"id":"b","text":"t"}\n'))
    assert [d["id"] for d in documents(path) if d] == ["a", "b"]
    assert count(str(path)) == 2


def test_csv(tmp_path: Path) -> None:
    """Columns become fields, numbers become numbers only in metadata, texts may hold line breaks."""
    path = tmp_path / "a.csv"
    path.write_text('\ufeffid,text,n,zip,ratio,empty\n1,"two\nlines",7,007,-0.5,\n2,42,x,1e3,1.50,\n', "utf-8")
    first = {"id": "1", "text": "two\nlines", "metadata": {"n": 7, "zip": "007", "ratio": -0.5}}
    second = {"id": "2", "text": "42", "metadata": {"n": "x", "zip": "1e3", "ratio": 1.5}}
    assert documents(path) == [first, second]
    assert count(str(path)) == 2


def test_csv_json_columns_and_errors(tmp_path: Path) -> None:
    """`metadata` and `vector` columns may hold JSON; a row of another width is an error of that line."""
    path = tmp_path / "a.csv"
    path.write_text('id,text,metadata,vector\na,t,"{""k"": [1]}","[1, 2]"\nb,t\nc,t,{,\n', "utf-8")
    assert documents(path)[0] == {"id": "a", "text": "t", "metadata": {"k": [1]}, "vector": [1, 2]}
    assert errors(path)[0] == (3, "expected 4 columns, got 2")
    assert "column 'metadata' is not JSON" in str(errors(path)[1])


def test_csv_not_utf8(tmp_path: Path) -> None:
    """A CSV file in another encoding is refused with the line."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,text\na,caf\xe9\n")
    with pytest.raises(RecordError, match="line 2: not UTF-8"):
        documents(path)


def test_parquet(tmp_path: Path) -> None:
    """Columns become fields; dates become text, nulls are left out, vectors are kept."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    day = datetime.date(2020, 1, 2)
    rows = [
        {"id": "a", "text": "t", "day": day, "n": 1, "x": float("nan"), "vector": [0.5, 1.0]},
        {"id": "b", "text": "u", "day": None, "n": 2, "x": 1.5, "vector": None},
    ]
    path = tmp_path / "a.parquet"
    write_table(pa.Table.from_pylist(rows), path)
    assert documents(path) == [
        {"id": "a", "text": "t", "metadata": {"day": "2020-01-02", "n": 1}, "vector": [0.5, 1.0]},
        {"id": "b", "text": "u", "metadata": {"n": 2, "x": 1.5}},
    ]
    assert count(str(path)) == 2


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads JSONL from standard input, which cannot be counted first."""
    stdin = io.TextIOWrapper(io.BytesIO(b'{"id":"a","text":"t"}\n'))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert count("-") is None
    assert [record.document for record in read("-")] == [{"id": "a", "text": "t"}]


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.csv.gz", "missing.parquet", "notes.docx"])
def test_unreadable(tmp_path: Path, name: str) -> None:
    """A file that is not there or of an unknown kind is one clear error."""
    with pytest.raises(RecordError, match=name):
        documents(tmp_path / name)


def test_broken_gzip(tmp_path: Path) -> None:
    """A gzip file cut short is one clear error, not a half-read success."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id":"a","text":"t"}\n' * 100)[:-10])
    with pytest.raises(RecordError, match=r"a\.jsonl\.gz"):
        documents(path)


def test_a_gzip_file_with_a_damaged_middle(tmp_path: Path) -> None:
    """One clear error, too."""
    path = tmp_path / "a.jsonl.gz"
    packed = bytearray(gzip.compress(b'{"id":"a","text":"t"}\n' * 100, mtime=0))
    packed[10] ^= 0xFF  # the first byte of what is compressed
    path.write_bytes(packed)
    with pytest.raises(RecordError, match=r"a\.jsonl\.gz.*decompressing"):
        documents(path)


def test_a_parquet_file_with_a_damaged_page(tmp_path: Path) -> None:
    """The footer is whole, so that the damage comes to light only among the rows."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    path = tmp_path / "a.parquet"
    write_table(pa.Table.from_pylist([{"id": "a", "text": "t"}]), path)
    data = bytearray(path.read_bytes())
    data[4:12] = b"\xff" * 8  # the header of the first page
    path.write_bytes(data)
    with pytest.raises(RecordError, match=r"a\.parquet"):
        documents(path)


def test_a_line_of_any_length_is_told_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than MAX_LINE bytes of one are in memory, so that a small .gz cannot fill it."""
    monkeypatch.setattr("app.rows.MAX_LINE", 30)
    path = tmp_path / "a.jsonl.gz"
    whole = b'{"id":"b","text":"t"}\n'
    for length in (29, 30, 31, 60, 61, 62, 63, 1_000):
        long = b'{"id":"a","text":"' + b"x" * (length - 20) + b'"}'
        assert len(long) == length
        path.write_bytes(gzip.compress(whole + long + b"\n" + whole + long))
        short = length < 30  # with its end
        assert [bool(document) for document in documents(path)] == [True, short, True, length <= 30]
        assert count(str(path)) == 4
    table = tmp_path / "a.csv"
    table.write_bytes(b"id,text\na," + b"x" * 1_000 + b"\n")
    with pytest.raises(RecordError, match="line 2: longer than 30 bytes"):
        documents(table)


def test_digits_of_other_scripts_are_text() -> None:
    """Only 0 to 9 make a number of a cell."""
    assert [number(cell) for cell in ("12", "1\u0663")] == [12, "1\u0663"]


def test_formats() -> None:
    """The kind of a file follows from its name, in either case."""
    assert [format_of(n) for n in ("a.CSV", "b.json.gz", "-", "c.parquet")] == [
        "csv",
        "jsonl",
        "jsonl",
        "parquet",
    ]


def test_tsv_is_cut_at_tabs_and_quotes_are_text(tmp_path: Path) -> None:
    """A quote opens nothing: the next line is a record of its own; short lines are refused with both counts."""
    path = tmp_path / "a.tsv"
    path.write_text('id\ttitle\ttext\n1\t"A\tone, "two"\n2\tB\tthree\n3\tC\n')
    expected = [{"id": "1", "title": '"A', "text": 'one, "two"'}, {"id": "2", "title": "B", "text": "three"}, None]
    assert documents(path) == expected
    assert errors(path) == [(4, "expected 3 columns, got 2")]
    assert count(str(path)) == 3

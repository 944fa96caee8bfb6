"""Every parser of bytes from outside: it reads them, or says what is wrong with one of its own errors."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from app import records
from app.body import decode, validate
from app.matrix_requests import read_matrix
from app.ndjson import LineReader
from app.openapi import BODIES
from app.problems import Refused
from app.rows import RecordError
from app.settings import Settings, SettingsError, load_settings
from app.vector_field import read_vector
from index import filters
from index.errors import InvalidFilter
from mutation import EXAMPLES, Parser, deep, fuzz, mutated, values

ROWS = [
    {"id": "a", "text": "one", "metadata": {"n": 1}, "vector": [1.0, 0.5]},
    {"_id": "b", "title": "two", "text": "2", "tags": ["x"], "day": None},
]
CONDITIONS = (*filters.OPERATORS, *filters.COMBINATIONS, "n")


def parquet() -> bytes:
    """A small file, as others write it."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file.getvalue()


def table(delimiter: str) -> bytes:
    """A small file with cells that have to be quoted."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([["id", "text", "metadata"], ["a", 'one, "two"\n3', '{"n": 1}']])
    return file.getvalue().encode()


def in_file(suffix: str) -> Callable[[bytes], None]:
    """A reader of all records of a file, which are counted as well."""

    def read(data: bytes) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"file{suffix}"
            path.write_bytes(data)
            found = list(records.read(str(path)))
            assert all((record.document is None) == bool(record.error) for record in found)
            assert records.count(str(path)) is not None

    return read


def as_model(model: type[BaseModel]) -> Parser:
    """The reader of one body; what it is fed has the model's fields with any values."""
    names = [*model.model_fields, "typo"]
    fields = st.dictionaries(st.sampled_from(names), values(*CONDITIONS), max_size=5)
    return Parser(fields | values(*names), lambda value: validate(model, value), (Refused,))


def of_settings(data: bytes) -> None:
    """A .env file with these bytes."""
    with TemporaryDirectory() as folder, chdir(folder):
        Path(".env").write_bytes(data)
        load_settings()


def of_variable(given: tuple[str, str]) -> None:
    """A variable of the environment."""
    name, value = given
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder, chdir(folder):
        patch.setenv(f"FUNNEL_{name.upper()}", value)
        load_settings()


def of_lines(given: tuple[bytes, int]) -> None:
    """A body in pieces of any length, of which at most an unfinished line of 100 bytes is kept."""
    body, size = given
    reader = LineReader(100)
    for start in range(0, len(body), size):
        assert all(line.data is None or len(line.data) <= 100 for line in reader.feed(body[start : start + size]))
    list(reader.end())


JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
SEEDS = {".jsonl": JSONL, ".csv": table(","), ".tsv": table("\t"), ".parquet": parquet()}
ENVIRONMENT = b"FUNNEL_PORT=8080\nFUNNEL_DATA_DIR='x'\nexport FUNNEL_STORAGE=\"int8\" # why\n"
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
PARSERS = {
    **{f"records {suffix}": Parser(mutated(seed), in_file(suffix), (RecordError,)) for suffix, seed in SEEDS.items()},
    "records .jsonl.gz": Parser(mutated(gzip.compress(JSONL, mtime=0)), in_file(".jsonl.gz"), (RecordError,)),
    "records .csv.gz of any text": Parser(mutated(table(",")).map(gzip.compress), in_file(".csv.gz"), (RecordError,)),
    **{model.__name__: as_model(model) for model in BODIES},
    "JSON": Parser(mutated(JSONL, b'{"a": [1e5, "\\u00e9"]}', deep()), decode, (Refused,)),
    "filter": Parser(values(*CONDITIONS), filters.parse, (InvalidFilter,)),
    "vector": Parser(values("AACAPw==") | st.lists(st.floats()), read_vector, (PydanticCustomError,)),
    "matrix": Parser(values("AACAPwAAAAAAAAAAAACAPw=="), read_matrix, (PydanticCustomError,)),
    "lines": Parser(st.tuples(mutated(JSONL), st.integers(1, 300)), of_lines, ()),
    ".env": Parser(mutated(ENVIRONMENT), of_settings, (SettingsError,)),
    "variable": Parser(st.tuples(st.sampled_from(list(Settings.model_fields)), TEXTS), of_variable, (SettingsError,)),
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_says_why_not(name: str) -> None:
    """Whatever it is fed."""
    fuzz(PARSERS[name], 40)


@pytest.mark.long
@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_many_times(name: str, record_property: Any) -> None:
    """The same, FUZZ_EXAMPLES times, and in bounded memory."""
    record_property("examples", EXAMPLES)
    fuzz(PARSERS[name], EXAMPLES, watched=True)

"""The demo corpus: the standard library's docstrings as documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "demo_corpus.py"


def written(*arguments: str) -> str:
    """What the script prints; importing the whole standard library needs a process of its own."""
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout


@pytest.fixture(scope="module")
def output() -> str:
    return written()


@pytest.fixture(scope="module")
def documents(output: str) -> dict[str, dict[str, Any]]:
    return {document["id"]: document for document in map(json.loads, output.splitlines())}


def test_size(documents: dict[str, dict[str, Any]]) -> None:
    """It holds thousands of documents, and never more than the limit."""
    assert 3_000 < len(documents) <= 6_000


def test_same_bytes_twice(output: str) -> None:
    """The same interpreter writes the same bytes again."""
    assert written() == output


def test_ids_and_texts_are_unique(output: str, documents: dict[str, dict[str, Any]]) -> None:
    """A docstring that many objects inherit appears once, and so does an id."""
    assert len(output.splitlines()) == len(documents) == len({d["text"] for d in documents.values()})


def test_date_parsing_is_there(documents: dict[str, dict[str, Any]]) -> None:
    """The document behind "parse a date from text" carries its text, title and metadata."""
    found = documents["datetime.datetime.strptime"]
    assert "parsed from a string" in found["text"]
    assert found["title"].startswith("datetime.datetime.strptime(")
    assert found["metadata"] | {"signature": "?"} == {
        "module": "datetime", "kind": "method", "package": "datetime", "signature": "?",
    }  # fmt: skip


def test_known_names(documents: dict[str, dict[str, Any]]) -> None:
    """Objects are called what people call them."""
    assert {"json", "json.loads", "os.listdir", "os.path.join", "len", "str.split"} <= set(documents)


def test_nothing_private(documents: dict[str, dict[str, Any]]) -> None:
    """No private name, no test and no example module is in it."""
    parts = {part for document_id in documents for part in document_id.split(".")}
    assert not {part for part in parts if part.startswith("_")}
    packages = {document["metadata"]["package"] for document in documents.values()}
    assert not {"test", "idlelib", "turtle", "antigravity", "this"} & packages


def test_no_addresses(output: str) -> None:
    """Nothing that changes from run to run, such as an address in memory, is in it."""
    assert " at 0x" not in output


def test_limit_and_file(tmp_path: Path) -> None:
    """A limit keeps the best known objects, and a file gets what standard output would."""
    target = tmp_path / "demo.ndjson"
    written(str(target), "--limit", "50")
    assert target.read_text(encoding="utf-8") == written("--limit", "50")
    assert len(target.read_text(encoding="utf-8").splitlines()) == 50

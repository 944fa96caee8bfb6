"""Exports are read again as what they were, documents, metadata and vectors; unfinished ones do not have their name."""

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.parquet import ParquetFile

from app import exporting
from app.client import Client
from app.main import create_app
from app.records import read
from app.rows import RecordError
from cli_runner import Run, at_work, runner
from embedders import HashEmbedder
from index_cases import unit_vectors
from service import TEXTS, settings_for

SUFFIXES = [".jsonl", ".ndjson.gz", ".parquet"]
ODD: list[dict[str, Any]] = [
    {"id": "a/b c\u2028d", "text": "two\nlines\u0085 and \u2028 more", "title": "Title", "metadata": {"n": None}},
    {"id": "deep", "text": "x", "metadata": {"a": {"b": [1, 2.5, "three", True, {"c": []}]}, "id": "inner", "text": 7}},
    {"id": "007", "text": "y", "metadata": {"code": "007", "big": 2**53 + 1, "float": 0.1, "_id": "q"}},
    {"id": "empty title", "text": "z", "title": ""},
    {"id": "no text", "text": "", "title": "only a title"},
]


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in an empty folder, without a model."""
    run = runner(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    monkeypatch.setenv("FUNNEL_DIM", "32")
    return run


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service with a small model and odd documents."""
    with at_work(create_app(settings_for(tmp_path, max_limit=20), HashEmbedder())) as url:
        with Client(url) as client:
            plain = [{"id": name, "text": text, "metadata": {"name": name}} for name, text in TEXTS.items()]
            many = [{"id": f"n{i:03}", "text": f"number {i}", "metadata": {"i": i}} for i in range(90)]
            assert client.ingest([*ODD, *plain, *many]).failed == 0
        yield url


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("vectors", [True, False])
def test_what_was_exported_is_ingested_as_it_was(
    funnel: Run, url: str, tmp_path: Path, suffix: str, vectors: bool
) -> None:
    """Same documents, same hits; with vectors nothing is embedded, without them the model does it again."""
    options = ["--with-vectors"] if vectors else []
    done = funnel("export", f"all{suffix}", "--url", url, *options)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f"100 documents written to all{suffix}\n")
    embedder = None if vectors else HashEmbedder()  # without a model, vectors are all there is to store
    other = settings_for(tmp_path / "other", prefix_dim=8, **({"model": "none", "dim": 32} if vectors else {}))
    with at_work(create_app(other, embedder)) as target, Client(target) as copy, Client(url) as client:
        assert funnel("ingest", f"all{suffix}", "--url", target).code == 0
        assert list(copy.scroll(page=20)) == list(client.scroll(page=20))
        assert copy.count({"a.b": "three"}) == client.count({"a.b": "three"})
        found, again = (list(one.scroll(page=20, with_vector=True)) for one in (client, copy))
        wanted, actual = (np.array([document["vector"] for document in part]) for part in (found, again))
        assert np.abs(wanted - actual).max() <= 1e-6
        questions = unit_vectors(5).tolist()
        for limit, exact in ((10, True), (20, False)):
            asked = {"vectors": questions, "limit": limit, "exact": exact}
            for left, right in zip(client.search(**asked)["results"], copy.search(**asked)["results"], strict=True):
                assert [hit["id"] for hit in left] == [hit["id"] for hit in right]
                assert [hit["score"] for hit in left] == pytest.approx([hit["score"] for hit in right], abs=1e-6)


def test_a_line_is_a_json_object_with_float32_in_base64(funnel: Run, url: str) -> None:
    """For programs: standard output has the documents alone."""
    done = funnel("export", "-", "--url", url, "--with-vectors", "--filter", '{"name": "perl"}')
    (line,) = done.out.splitlines()
    told = json.loads(line)
    assert {name: told[name] for name in ("id", "text", "metadata")} == {
        "id": "perl", "text": TEXTS["perl"], "metadata": {"name": "perl"},
    }  # fmt: skip
    assert np.frombuffer(base64.b64decode(told["vector"]), "<f4").shape == (32,)
    assert "title" not in told
    assert "1 documents written to standard output" in done.err


def test_a_table_has_columns_that_others_read(funnel: Run, url: str, tmp_path: Path) -> None:
    """Strings, JSON, and a list of float32; many row groups."""
    assert funnel("export", "all.parquet", "--url", url, "--with-vectors").code == 0
    schema = ParquetFile(tmp_path / "all.parquet").schema_arrow
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == {
        "id": "string", "title": "string", "text": "string", "metadata": "string", "vector": "list<element: float>",
    }  # fmt: skip
    assert funnel("export", "plain.parquet", "--url", url).code == 0
    assert ParquetFile(tmp_path / "plain.parquet").schema_arrow.names == ["id", "title", "text", "metadata"]


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more documents are held than one of them has."""
    monkeypatch.setattr(exporting, "GROUP", 4)
    with exporting.opened(str(tmp_path / "a.parquet"), False) as sink:
        for number in range(10):
            sink.write({"id": str(number), "title": None, "text": "t", "metadata": {}})
            assert len(sink._rows) < 4  # type: ignore[attr-defined]
    assert ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 3
    found = [record.document for record in read(str(tmp_path / "a.parquet"))]
    assert [document["id"] for document in found if document] == list("0123456789")


@pytest.mark.parametrize("name", ["all.csv", "all.tsv", "all.txt", "all", "all.parquet.gz"])
def test_other_endings_are_refused(funnel: Run, url: str, tmp_path: Path, name: str) -> None:
    """With those that are known, before anything is read."""
    refused = funnel("export", name, "--url", url)
    assert refused.code == 1
    assert "an export is .jsonl" in refused.err
    assert [path.name for path in tmp_path.iterdir() if path.name != "data"] == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_not_whole_has_not_its_name(
    funnel: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """After Ctrl-C, or when the service breaks off: nothing is left, and an older file stays as it was."""
    (tmp_path / f"all{suffix}").write_text("older")
    real = Client.scroll

    def breaking(self: Client, *arguments: Any) -> Iterator[dict[str, Any]]:
        for number, document in enumerate(real(self, *arguments)):
            if number == 30:
                raise KeyboardInterrupt if suffix == ".jsonl" else RecordError("broke off")
            yield document

    monkeypatch.setattr(Client, "scroll", breaking)
    stopped = funnel("export", f"all{suffix}", "--url", url)
    assert stopped.code == (130 if suffix == ".jsonl" else 1)
    assert (tmp_path / f"all{suffix}").read_text() == "older"
    assert not list(tmp_path.glob("*.partial"))


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """As the operating system tells it, when the file is written or synced."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        exporting.Lines(full).write({"id": "a", "title": None, "text": "t", "metadata": {}})


def test_a_reader_that_stops_early_ends_it_quietly(tmp_path: Path) -> None:
    """`funnel export - | head -1`: no traceback."""
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from app import cli, cli_export
from app.exporting import opened
def many(file, *_):
    with opened(file, False) as sink:
        for number in range(100_000):
            sink.write({{"id": str(number), "title": None, "text": "x" * 100, "metadata": {{}}}})
    return 100_000
cli_export.run_export = many
sys.argv = ["funnel", "export", "-"]
cli.main()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert json.loads(writer.stdout.readline())["id"] == "0"
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 1


def test_gzip_files_are_the_same_each_time(tmp_path: Path) -> None:
    """Without the time or a name in them, so that equal exports are equal files."""
    for name in ("a", "b"):
        with exporting.opened(str(tmp_path / f"{name}.jsonl.gz"), False) as sink:
            sink.write({"id": "a", "title": None, "text": "t", "metadata": {}})
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert json.loads(gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()))["id"] == "a"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PLAIN = {"id": TEXT.filter(bool), "title": st.none() | TEXT, "text": TEXT}
DOCUMENTS = st.fixed_dictionaries({**PLAIN, "metadata": st.dictionaries(TEXT, JSON, max_size=4)})


@settings(max_examples=60)
@given(st.lists(DOCUMENTS, max_size=5), st.sampled_from([".jsonl", ".parquet"]))
def test_any_document_comes_back(tmp_path_factory: pytest.TempPathFactory, documents: list[Any], suffix: str) -> None:
    """Whatever is in its texts and metadata, and with its vector to the bit."""
    rng = np.random.default_rng(0)
    path = str(tmp_path_factory.mktemp("any") / f"a{suffix}")
    vectors = rng.standard_normal((len(documents), 3)).astype(np.float32)
    with exporting.opened(path, True) as sink:
        for document, vector in zip(documents, vectors, strict=True):
            sink.write({**document, "vector": vector.tolist()})
    found = [record.document for record in read(path)]
    for document, again, vector in zip(documents, found, vectors, strict=True):
        assert again is not None
        numbers = again.pop("vector")
        numbers = np.frombuffer(base64.b64decode(numbers), "<f4") if isinstance(numbers, str) else np.float32(numbers)
        assert np.array_equal(numbers, vector)
        assert {"title": None, "metadata": {}, **again} == document


def test_help_says_what_an_import_does_with_vectors(funnel: Run) -> None:
    """And shows examples."""
    shown = " ".join(funnel("export", "--help").out.replace("│", " ").split())
    assert "they count as the documents' own" in shown
    assert "funnel export documents.jsonl.gz" in shown

"""`funnel import`: what other systems wrote comes out of the service as it was, by their own libraries."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

import app.foreign_chroma
import app.foreign_faiss
import app.foreign_qdrant
from app.client import Client
from cli_runner import Run, jsonl, runner, serving
from embedders import DIM
from index_cases import unit_vectors

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

COUNT = 23
V = unit_vectors(COUNT, DIM)
IDS = [f"d{n}" for n in range(COUNT)]
METADATA: list[dict[str, Any]] = [{"n": n, "even": n % 2 == 0} for n in range(COUNT)]
OTHERS = ["Flat", "HNSW8,Flat", "IVF2,Flat", "IDMap,Flat"]
INDEXES = ["IDMap2,IVF2,Flat", "SQ8", *(pytest.param(one, marks=pytest.mark.long) for one in OTHERS)]


def needs(module: str, extra: str) -> pytest.MarkDecorator:
    """Skip, with what to install, where a library is missing."""
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is missing: 'funnel-search[{extra}]'")


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    for module in (app.foreign_chroma, app.foreign_faiss, app.foreign_qdrant):
        monkeypatch.setattr(module, "PAGE", 7)
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "data") as address:
        yield address


def assert_moved(url: str, ids: list[str], texts: bool = True, atol: float = 1e-6) -> None:
    """Every document is there with its own vector, found by it, and with what else it had."""
    with Client(url) as client:
        assert client.count() == len(ids)
        for place, one in enumerate(ids):
            document = client.get(one, with_vector=True)
            assert np.allclose(document["vector"], V[place], atol=atol)
            assert document["text"] == (f"text {place}" if texts else "")
            assert document["metadata"] == (METADATA[place] if texts else {})
        assert client.search(vector=V[9].tolist(), limit=1)["results"][0]["id"] == ids[9]


def write_faiss(path: Path, factory: str, vectors: np.ndarray = V) -> list[str]:
    """An index file; the ids that its rows go by."""
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    if not factory.startswith("IDMap"):
        index.add(vectors)
        faiss.write_index(index, str(path))
        return [str(row) for row in range(len(vectors))]
    numbers = np.arange(len(vectors))[::-1] * 10
    index.add_with_ids(vectors, numbers)
    faiss.write_index(index, str(path))
    return [str(number) for number in numbers]


@pytest.mark.parametrize("factory", INDEXES)
def test_faiss(factory: str, funnel: Run, url: str, tmp_path: Path) -> None:
    """By the numbers of the rows; codes come back approximately, and it says so."""
    ids = write_faiss(tmp_path / "a.faiss", factory)
    done = funnel("import", "faiss", "a.faiss", "--url", url)
    assert (done.code, "23 of 23 durable: 23 created" in done.out) == (0, True), done
    assert ("keeps codes" in done.err) == (factory == "SQ8")
    assert_moved(url, ids, texts=False, atol=0.02 if factory == "SQ8" else 1e-6)
    assert "23 unchanged" in funnel("import", "faiss", "a.faiss", "--url", url).out


def test_faiss_rows_with_numbers_of_their_own(funnel: Run, url: str, tmp_path: Path) -> None:
    """Lists that were given ids hold the rows in another order, and these do not count from 0."""
    index = faiss.index_factory(DIM, "IVF2,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(V)
    numbers = np.arange(COUNT) * 3 + 1_000_000_000_000
    index.add_with_ids(V, numbers)
    faiss.write_index(index, str(tmp_path / "a.faiss"))
    assert funnel("import", "faiss", "a.faiss", "--url", url).code == 0
    assert_moved(url, [str(number) for number in numbers], texts=False)


def test_faiss_with_texts(funnel: Run, url: str, tmp_path: Path) -> None:
    """Record n is row n; without as many records nothing is stored."""
    write_faiss(tmp_path / "a.faiss", "Flat")
    records = [{"key": one, "body": f"text {n}", **METADATA[n]} for n, one in enumerate(IDS)]
    jsonl(tmp_path / "few.jsonl", *records[:-1])
    jsonl(tmp_path / "a.jsonl", *records)
    fields = ("--id-field", "key", "--text-field", "body", "--url", url)
    done = funnel("import", "faiss", "a.faiss", "--documents", "few.jsonl", *fields)
    assert (done.code, "a.faiss has 23 rows, few.jsonl has 22 records" in done.err) == (1, True), done
    with Client(url) as client:
        assert client.count() == 0
    assert funnel("import", "faiss", "a.faiss", "--documents", "a.jsonl", *fields).code == 0
    assert_moved(url, IDS)


def test_both_widths_are_told(funnel: Run, url: str, tmp_path: Path) -> None:
    """Before anything is sent."""
    write_faiss(tmp_path / "a.faiss", "Flat", unit_vectors(5, DIM + 1))
    done = funnel("import", "faiss", "a.faiss", "--url", url)
    assert done.code == 1
    assert f"a.faiss has vectors of {DIM + 1} numbers, the index takes {DIM}" in done.err
    assert f"FUNNEL_DIM={DIM + 1}" in done.err


def test_what_is_no_index_is_named(funnel: Run, url: str, tmp_path: Path) -> None:
    """A file that is not there, and one that is something else."""
    (tmp_path / "b.faiss").write_bytes(b"something else")
    for name in ("none.faiss", "b.faiss"):
        done = funnel("import", "faiss", name, "--url", url)
        assert (done.code, f"{name} is no index of FAISS" in done.err) == (1, True), done


@needs("chromadb", "chroma")
@pytest.mark.filterwarnings("default")  # of theirs
def test_chroma(funnel: Run, url: str, tmp_path: Path) -> None:
    """A directory that chromadb made; several collections need a name, no directory is made."""
    import chromadb

    silent = chromadb.config.Settings(anonymized_telemetry=False)
    made = chromadb.PersistentClient(str(tmp_path / "chroma"), silent)
    notes = made.create_collection("notes", embedding_function=None)
    texts = [f"text {n}" for n in range(COUNT)]
    notes.add(ids=IDS, embeddings=V, documents=texts, metadatas=METADATA)
    done = funnel("import", "chroma", "chroma", "--url", url)
    assert (done.code, "23 of 23 durable: 23 created" in done.out) == (0, True), done
    assert_moved(url, IDS)
    made.create_collection("empty", embedding_function=None)
    assert "2 collections, name one" in funnel("import", "chroma", "chroma", "--url", url).err
    assert "empty is empty" in funnel("import", "chroma", "chroma", "--collection", "empty", "--url", url).err
    assert "'nots'; there are: empty, notes" in funnel("import", "chroma", "chroma", "--collection", "nots").err
    assert "23 unchanged" in funnel("import", "chroma", "chroma", "--collection", "notes", "--url", url).out
    assert "it has no chroma.sqlite3" in funnel("import", "chroma", "elsewhere").err
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "chroma.sqlite3").write_bytes(b"something else" * 100)
    assert "error: broken: " in funnel("import", "chroma", "broken").err


@needs("qdrant_client", "qdrant")
@pytest.mark.filterwarnings("default")  # of theirs
@pytest.mark.parametrize("named", [False, True])
def test_qdrant(named: bool, funnel: Run, url: str, tmp_path: Path) -> None:
    """A directory of its local mode, which is read only when it is trusted; one of several vectors by name."""
    from qdrant_client import QdrantClient, models

    wide = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    other = models.VectorParams(size=3, distance=models.Distance.DOT)
    made = QdrantClient(path=str(tmp_path / "qdrant"))
    made.create_collection("notes", vectors_config={"dense": wide, "small": other} if named else wide)
    made.upsert(
        "notes",
        [
            models.PointStruct(
                id=n,
                vector={"dense": V[n].tolist(), "small": [1.0, 2.0, 3.0]} if named else V[n].tolist(),
                payload={"body": f"text {n}", **METADATA[n]},
            )
            for n in range(COUNT)
        ],
    )
    assert "error: qdrant: " in funnel("import", "qdrant", "qdrant", "--trust").err  # it is open here
    made.close()
    assert "add --trust" in funnel("import", "qdrant", "qdrant", "--url", url).err
    asked = ("import", "qdrant", "qdrant", "--trust", "--text-field", "body", "--url", url)
    if named:
        assert "has the vectors dense, small: name one with --vector" in funnel(*asked).err
        asked = (*asked, "--vector", "dense")
    done = funnel(*asked)
    assert (done.code, "23 of 23 durable: 23 created" in done.out) == (0, True), done
    assert_moved(url, [str(n) for n in range(COUNT)])
    assert "it has no meta.json" in funnel("import", "qdrant", "elsewhere").err
    assert "error: http://127.0.0.1:9: " in funnel("import", "qdrant", "http://127.0.0.1:9").err


def test_missing_pyarrow_is_named(funnel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is opened."""
    write_faiss(tmp_path / "a.faiss", "Flat")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = funnel("import", "faiss", "a.faiss", "--data-dir", "data")
    assert (done.code, "pip install 'funnel-search[parquet]'" in done.err) == (1, True), done
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("system", "module"), [("chroma", "chromadb"), ("qdrant", "qdrant_client")])
def test_a_missing_library_is_named(system: str, module: str, funnel: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    done = funnel("import", system, "folder")
    assert done.code == 1
    assert f"pip install 'funnel-search[{system}]'" in done.err

"""The client's record batches, against the real service."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app.client_arrow as module
from app.client import AsyncClient, Client, ProblemError, Totals
from app.main import create_app
from app.serving import in_process
from app.settings import Settings
from cli_runner import runner, serving
from embedders import DIM, HashEmbedder
from index_cases import unit_vectors

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

COUNT = 50
V = unit_vectors(COUNT, DIM)
IDS = [f"d{n}" for n in range(COUNT)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", _env_file=None)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with in_process(create_app(settings, HashEmbedder()), settings) as transport, Client(transport=transport) as made:
        yield made


def table(**columns: Any) -> Any:
    """All documents as a table."""
    return pa.table({"id": IDS, "vector": pa.FixedSizeListArray.from_arrays(V.ravel(), DIM), **columns})


def test_vectors_come_back_and_are_found(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several batches and requests; repeating it changes nothing."""
    monkeypatch.setattr(module, "BATCH_BYTES", 9 * 4 * DIM)
    monkeypatch.setattr(module, "REQUEST_BYTES", 30 * 4 * DIM)
    seen: list[Totals] = []
    metadata = [{"n": n} if n % 2 else None for n in range(COUNT)]
    totals = client.ingest_vectors(IDS, V, texts=["t"] * COUNT, metadata=metadata, progress=seen.append)
    assert (totals.created, totals.processed, totals.failed) == (COUNT, COUNT, 0)
    assert seen[-1] == totals
    assert [t.processed for t in seen] == sorted(t.processed for t in seen)
    document = client.get("d7", with_vector=True)
    assert (document["text"], document["metadata"]) == ("t", {"n": 7})
    assert np.allclose(document["vector"], V[7], atol=1e-6)
    assert client.search(vector=V[9].tolist(), limit=1)["results"][0]["id"] == "d9"
    assert client.ingest_vectors(IDS, V, texts=["t"] * COUNT, metadata=metadata).unchanged == COUNT


def test_tables_readers_and_other_encodings_are_taken(client: Client) -> None:
    """Dictionaries and views of texts arrive as texts."""
    texts = pa.array(["x", "y"] * (COUNT // 2))
    assert client.ingest_arrow(table(text=texts.dictionary_encode())).created == COUNT
    assert client.ingest_arrow(table(text=texts)).unchanged == COUNT
    assert client.ingest_arrow(table(text=texts).to_reader(7)).unchanged == COUNT
    assert client.ingest_arrow(table(text=texts.cast(pa.string_view()))).unchanged == COUNT
    assert client.ingest_arrow(table(text=texts).to_batches()[0].slice(3, 4)).unchanged == 4
    assert client.ingest_arrow([]).processed == 0


def test_failures_have_their_position_in_the_whole(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the second request."""
    monkeypatch.setattr(module, "BATCH_BYTES", 10 * 4 * DIM)
    monkeypatch.setattr(module, "REQUEST_BYTES", 20 * 4 * DIM)
    vectors = V.copy()
    vectors[33, 5] = np.nan
    totals = client.ingest_vectors(IDS, vectors)
    assert (totals.created, [(f.position, f.id) for f in totals.failures]) == (COUNT - 1, [(34, "d33")])


def test_refusals_are_problems(client: Client) -> None:
    """Of the service, and of what was asked here."""
    with pytest.raises(ProblemError, match=f"has 3 dimensions, expected {DIM}") as refused:
        client.ingest_vectors(["a"], np.ones((1, 3), dtype=np.float32))
    assert refused.value.status == 422
    with pytest.raises(ValueError, match="50 ids need as many vectors, got 2"):
        client.ingest_vectors(IDS, V[:2])


def test_the_other_client_sends_them_too(settings: Settings) -> None:
    """From an event loop, to an application in it."""

    async def run() -> Totals:
        application = create_app(settings, HashEmbedder())
        async with AsyncClient(app=application) as client:
            return await client.ingest_arrow(table())

    assert asyncio.run(run()).created == COUNT


def test_a_file_is_ingested_as_record_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`funnel ingest --arrow`: every other column becomes metadata, and another kind of file makes no difference."""
    from pyarrow import feather, parquet

    funnel = runner(monkeypatch, capsys, tmp_path)
    vectors = V.copy()
    vectors[3] = 0
    whole = table(title=[f"title {n}" for n in range(COUNT)], n=list(range(COUNT)), kind=["a"] * COUNT)
    whole = whole.set_column(1, "vector", pa.FixedSizeListArray.from_arrays(vectors.ravel(), DIM))
    parquet.write_table(whole.rename_columns(["_id", *whole.column_names[1:]]), "v.parquet")
    feather.write_feather(whole, "v.arrow", compression="uncompressed")
    with serving(tmp_path / "data") as url:
        first = funnel("ingest", "v.parquet", "--arrow", "--url", url)
        assert (first.code, f"{COUNT - 1} durable: {COUNT - 1} created; 1 refused" in first.out) == (1, True)
        assert "line 4 (d3): a vector of zeros has no direction" in first.err
        assert f"{COUNT - 1} unchanged" in funnel("ingest", "v.arrow", "--arrow", "--url", url).out
        with Client(url) as client:
            assert client.get("d7")["metadata"] == {"kind": "a", "n": 7}
        assert "no column 'sku'; there are id, vector" in funnel(
            "ingest", "v.arrow", "--arrow", "--id-field", "sku", "--url", url
        ).err  # fmt: skip
        assert "reads .parquet, .arrow and .feather" in funnel("ingest", "v.csv", "--arrow", "--url", url).err

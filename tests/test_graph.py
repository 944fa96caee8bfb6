"""The HNSW graph of prefixes."""

import gc
import zlib
from pathlib import Path

import faiss
import numpy as np
import pytest

from index import bits
from index.coding import load_older
from index.errors import StoreCorrupt
from index.graph import Graph
from index.older import checksum
from index_cases import unit_vectors

DIM = 8
P = unit_vectors(2_000, DIM)
TOLERANCE = {"float32": 0.0, "int8": 2e-2}


@pytest.fixture(scope="module", params=["float32", "int8"])
def graph(request: pytest.FixtureRequest) -> Graph:
    """A graph of 2,000 rows."""
    graph = Graph.empty(P, request.param).extended(P)
    assert graph is not None
    assert graph.codes == request.param
    return graph


def test_position_in_the_graph_is_the_row(graph: Graph) -> None:
    """Each prefix finds its own row first, and comes back within the codes' tolerance."""
    assert (graph.rows, graph.dim) == (2_000, DIM)
    own = [int(graph.search(P[row], 1, 64, None)[0][0]) for row in range(0, 2_000, 40)]
    assert np.mean(np.array(own) == np.arange(0, 2_000, 40)) > 0.95
    for rows in (np.array([7, 3, 1_999]), slice(5, 9)):
        assert np.abs(graph.prefixes(rows) - P[rows]).max() <= TOLERANCE[graph.codes]


def test_only_allowed_rows_are_found(graph: Graph) -> None:
    """With a bitmap of all rows, of fewer bytes than the graph has rows, of more, and of none."""
    query = unit_vectors(1, DIM, seed=1)[0]
    for mask in (np.arange(2_000) % 5 == 0, np.ones(100, dtype=bool), np.ones(9_000, dtype=bool)):
        rows, scores = graph.search(query, 20, 400, bits.pack(mask))
        assert len(rows) == len(set(rows.tolist())) == 20
        assert (rows < min(2_000, len(mask))).all()
        assert mask[rows].all()
        assert (np.diff(scores) <= 0).all()
    assert len(graph.search(query, 20, 400, np.zeros(250, dtype=np.uint8))[0]) == 0


def test_fewer_matches_than_wanted_are_all_there_are(graph: Graph) -> None:
    """Missing results are left out; more wanted than there are rows is no error."""
    query, few = unit_vectors(1, DIM, seed=1)[0], np.zeros(2_000, dtype=bool)
    few[[3, 700]] = True
    assert set(graph.search(query, 10, 2_000, bits.pack(few))[0].tolist()) <= {3, 700}
    rows, _ = graph.search(query, 5_000, 5_000, None)
    assert len(set(rows.tolist())) == len(rows) > 1_900


def test_the_bitmap_may_be_freed_after_the_search(graph: Graph) -> None:
    """Selectors keep their bitmap for as long as they are used."""
    query = unit_vectors(1, DIM, seed=1)[0]
    expected = graph.search(query, 10, 100, bits.pack(np.arange(2_000) % 2 == 0))[0].tolist()
    for _ in range(50):
        assert graph.search(query, 10, 100, bits.pack(np.arange(2_000) % 2 == 0))[0].tolist() == expected
        gc.collect(0)


def test_a_graph_in_use_is_never_changed() -> None:
    """Extending makes a copy; being stopped gives none."""
    small = Graph.empty(P, "float32").extended(P[:500])
    assert small is not None
    before = small.search(P[600], 10, 100, None)[0].tolist()
    larger = small.extended(P[500:])
    assert larger is not None
    assert (small.rows, larger.rows) == (500, 2_000)
    assert small.search(P[600], 10, 100, None)[0].tolist() == before
    assert larger.search(P[600], 1, 100, None)[0].tolist() == [600]
    assert small.extended(P[500:], stop=lambda: True) is None
    assert larger.memory_bytes > small.memory_bytes > 500 * DIM * 4


def test_a_saved_graph_answers_the_same(graph: Graph, tmp_path: Path) -> None:
    """Same rows, same scores, same codes."""
    path = tmp_path / "g.faiss"
    loaded = load_older(path, graph.save(path))
    query = unit_vectors(1, DIM, seed=1)[0]
    assert [a.tolist() for a in loaded.search(query, 50, 80, None)] == [
        a.tolist() for a in graph.search(query, 50, 80, None)
    ]
    assert (loaded.codes, loaded.rows, loaded.dim) == (graph.codes, 2_000, DIM)


@pytest.mark.parametrize("damage", ["bit", "short", "lost"])
def test_a_damaged_file_is_refused_before_faiss_reads_it(graph: Graph, tmp_path: Path, damage: str) -> None:
    """By its checksum."""
    path = tmp_path / "g.faiss"
    expected = graph.save(path)
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[:-1] if damage == "short" else data)
    if damage == "lost":
        path.unlink()
    with pytest.raises(StoreCorrupt, match=r"g\.faiss"):
        load_older(path, expected)


def test_a_crafted_file_cannot_exhaust_memory(graph: Graph, tmp_path: Path) -> None:
    """One that says it holds a tebibyte of codes, with the checksum that fits it."""
    path = tmp_path / "graph.faiss"
    graph.save(path)
    codes = faiss.vector_to_array(graph._storage.codes).tobytes()
    data = path.read_bytes()
    assert data.count(codes) == 1
    start = data.index(codes) - 8  # their length, in numbers or bytes
    crafted = data[:start] + (1 << 40).to_bytes(8, "little") + data[start + 8 :]
    path.write_bytes(crafted)
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        load_older(path, zlib.crc32(crafted))


def test_another_kind_of_index_is_refused(tmp_path: Path) -> None:
    """With a checksum that fits, too."""
    path = tmp_path / "flat.faiss"
    faiss.write_index(faiss.IndexFlatIP(4), str(path))
    with pytest.raises(StoreCorrupt, match="no shortlist but IndexFlatIP"):
        load_older(path, zlib.crc32(path.read_bytes()))


def test_the_checksum_is_crc32(tmp_path: Path) -> None:
    """As any tool computes it."""
    (tmp_path / "f").write_bytes(b"123456789")
    assert checksum(tmp_path / "f") == 0xCBF43926

"""The table of systems that are compared, and of those that cannot be, with the reason."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = Path(".cache/peers")


@dataclass(frozen=True)
class Entry:
    """A system in one mode, and the class that runs it: `module:Class` with its options.

    `mode` is exact, floor, plain (one index) or two-stage (a shortlist, then full vectors). `kind` is library, embedded
    (a database in the process) or served. A `peer` runs in the environment of the peers, the rest in the service's own.
    """

    name: str
    mode: str
    source: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = "library"
    peer: bool = True


def _ours(name: str, mode: str, **options: Any) -> Entry:
    return Entry(name, mode, "benchmark_funnel:Funnel", options, peer=False)


def _faiss(name: str, mode: str, what: str, **options: Any) -> Entry:
    return Entry(name, mode, f"benchmark_faiss:{what}", options, peer=False)


SYSTEMS = (
    _ours("funnel", "two-stage"),
    _ours("funnel-packed", "two-stage", prefix_dim=256, shortlist_index="packed"),
    _ours("funnel-graph", "two-stage", shortlist_index="hnsw"),
    _ours("funnel-graph-int8", "two-stage", shortlist_index="hnsw", shortlist_codes="int8"),
    _ours("funnel-bfloat16", "two-stage", storage="bfloat16"),
    _ours("funnel-int8", "two-stage", storage="int8"),
    Entry("numpy-exact", "exact", "benchmark_numpy:Exact", peer=False),
    Entry("numpy-funnel", "floor", "benchmark_numpy:Scan", peer=False),
    _faiss("faiss-exact", "exact", "Exact"),
    _faiss("faiss-panorama", "exact", "Exact", panorama=True),
    _faiss("faiss-hnsw-16", "plain", "Graph", recipe="HNSW16,Flat"),
    _faiss("faiss-hnsw-32", "plain", "Graph", recipe="HNSW32,Flat"),
    _faiss("faiss-hnsw-sq8", "plain", "Graph", recipe="HNSW16,SQ8"),
    _faiss("faiss-hnsw-panorama", "plain", "Graph", recipe="HNSW16_FlatPanorama", euclidean=True),
    _faiss("faiss-hnsw-rabitq", "plain", "Graph", recipe="HNSW32,RaBitQ4", euclidean=True),
    _faiss("faiss-hnsw-rabitq-refine", "two-stage", "Graph", recipe="HNSW32,RaBitQ4,RFlat", euclidean=True),
    _faiss("faiss-hnsw-funnel", "two-stage", "Funnel", links=16),
    _faiss("faiss-hnsw-funnel-mapped", "two-stage", "Funnel", links=16, mapped=True),
    _faiss("faiss-scan-funnel", "two-stage", "Funnel"),
    _faiss("faiss-panorama-funnel", "two-stage", "Funnel", links=16, panorama=True),
    _faiss("faiss-ivfpq", "plain", "Inverted", codes="PQ192x4fs"),
    _faiss("faiss-ivfpq-refine", "two-stage", "Inverted", codes="PQ192x4fs", refine=True),
    _faiss("faiss-ivfrabitq-refine", "two-stage", "Inverted", codes="RaBitQfs", refine=True),
    Entry("hnswlib", "plain", "benchmark_graphs:Hnswlib"),
    Entry("hnswlib-32", "plain", "benchmark_graphs:Hnswlib", {"links": 32}),
    Entry("hnswlib-funnel", "two-stage", "benchmark_graphs:Hnswlib", {"funnel": True}),
    Entry("usearch-f16", "plain", "benchmark_graphs:Usearch", {"codes": "f16"}),
    Entry("usearch-i8", "plain", "benchmark_graphs:Usearch", {"codes": "i8"}),
    Entry("usearch-i8-mapped", "plain", "benchmark_graphs:Usearch", {"codes": "i8", "mapped": True}),
    Entry("usearch-i8-rerank", "two-stage", "benchmark_graphs:Usearch", {"codes": "i8", "rerank": True}),
    Entry("usearch-funnel", "two-stage", "benchmark_graphs:Usearch", {"codes": "f16", "funnel": True}),
    Entry("scann", "plain", "benchmark_scann:Scann"),
    Entry("scann-truncate", "two-stage", "benchmark_scann:Scann", {"truncate": True}),
    Entry("qdrant-edge", "plain", "benchmark_qdrant:Edge", {"mode": "plain"}, "embedded"),
    Entry("qdrant-edge-int8", "two-stage", "benchmark_qdrant:Edge", {"mode": "int8"}, "embedded"),
    Entry("qdrant-edge-prefix", "two-stage", "benchmark_qdrant:Edge", {"mode": "prefix"}, "embedded"),
    Entry("lancedb-hnsw", "plain", "benchmark_lancedb:Lance", {"index": "IVF_HNSW_SQ"}, "embedded"),
    Entry("lancedb-ivfpq-refine", "two-stage", "benchmark_lancedb:Lance", {"index": "IVF_PQ"}, "embedded"),
    Entry("lancedb-rabitq-refine", "two-stage", "benchmark_lancedb:Lance", {"index": "IVF_RQ"}, "embedded"),
    Entry("chroma", "plain", "benchmark_chroma:Chroma", {}, "embedded"),
    Entry("chroma-prefix", "two-stage", "benchmark_chroma:Chroma", {"prefix": True}, "embedded"),
    Entry("sqlite-vec", "exact", "benchmark_sqlite:SqliteVec", {}, "embedded"),
    Entry("sqlite-vec-prefix", "two-stage", "benchmark_sqlite:SqliteVec", {"prefix": True}, "embedded"),
    Entry("funnel-server", "two-stage", "benchmark_served:FunnelServer", {}, "served", peer=False),
    Entry(
        "funnel-packed-server",
        "two-stage",
        "benchmark_served:FunnelServer",
        {"prefix_dim": 256, "shortlist_index": "packed"},
        "served",
        peer=False,
    ),
    Entry("chroma-server", "plain", "benchmark_served:ChromaServer", {}, "served"),
    Entry("pgvector", "plain", "benchmark_pgvector:Pgvector", {"mode": "plain"}, "served"),
    Entry("pgvector-half", "plain", "benchmark_pgvector:Pgvector", {"mode": "half"}, "served"),
    Entry("pgvector-prefix", "two-stage", "benchmark_pgvector:Pgvector", {"mode": "prefix"}, "served"),
)

LEFT_OUT = {  # name -> why it is not in the table above
    "Qdrant server, Milvus, Weaviate, Vespa": "their server binaries come from no package registry",
    "DiskANN": "diskannpy 0.7.0 pins numpy 1.25 and its disk index never finished loading (three settings tried)",
    "Intel SVS LeanVec": "stops with 'not supported on non-Intel hardware'; FAISS's wheel has no SVS class",
    "Milvus Lite": "3.x is a Python program over FAISS (16 ms where FAISS takes 0.4 ms), 2.5 searches by brute force",
    "DuckDB": "its vss extension is a download; without it every search is a scan in SQL",
}


def chosen(names: list[str]) -> list[Entry]:
    """The entries of these names, in the table's order; all for none. Raises KeyError for a name that is not there."""
    known = {entry.name for entry in SYSTEMS}
    if unknown := [name for name in names if name not in known]:
        raise KeyError(f"there is no system {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return [entry for entry in SYSTEMS if not names or entry.name in names]

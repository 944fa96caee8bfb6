"""Every parser of what a data directory or a snapshot holds: what it reads is whole, or it says that it is not.

Checksums are compared first, and are right here wherever a parser can be reached only with right ones.
"""

import io
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from index.calibrating import named
from index.calibrations import Calibrations
from index.coding import load_older
from index.document import Document
from index.errors import FunnelError, StoreCorrupt, StoreFormat
from index.graph import Graph
from index.layout import Layout
from index.matrices import load_matrices, load_matrix, packed
from index.merger import load_snapshot
from index.restoring import restore
from index.snapshot_file import read_header, record_of
from index.space import Space
from index.store import Store
from index_cases import unit_vectors
from mutation import EXAMPLES, Parser, deep, fuzz, mutated, records
from test_calibration import calibration_of

DIM = 4
SPACE = Space(DIM, 2, {"model": "test"})
MATRIX, CHECKSUM = packed(np.eye(DIM, dtype=np.float32))
PART = {"file": f"rotation-{CHECKSUM:08x}.npy", "crc32": CHECKSUM, "measured": {}, "applied": "2026-01-01"}
ROTATION = {**PART, "widths": [2], "method": "pca", "rows": 1, "through": 1, "energy": 0.5}


def in_folder(read: Callable[[Path], Any], name: str) -> Callable[[bytes], Any]:
    """A reader of a folder in which one file has the bytes."""

    def from_bytes(data: bytes) -> Any:
        with TemporaryDirectory() as folder:
            layout = Layout(Path(folder))
            layout.collection.mkdir(parents=True)
            (layout.root / name).write_bytes(data)
            return read(layout.root)

    return from_bytes


def of_matrix(data: bytes) -> None:
    """A matrix whose checksum is right."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.npy"
        path.write_bytes(data)
        matrix = load_matrix(path, zlib.crc32(data), DIM)
    assert (matrix.shape, matrix.dtype) == ((DIM, DIM), np.dtype(np.float32))


def of_matrices(record: str) -> None:
    """The record of both matrices, of which the rotation's file is there and whole."""
    with TemporaryDirectory() as folder:
        (Path(folder) / PART["file"]).write_bytes(MATRIX)
        load_matrices(record, Path(folder), DIM)


def of_snapshot(record: str) -> None:
    """The record of a graph, whose file is there and whole: the graph, or none."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "shortlist-1-9.faiss").write_bytes(GRAPH)
        assert (graph := load_snapshot(record, Path(folder), 2, 9)) is None or graph.rows == 9


def of_graph(data: bytes) -> None:
    """A graph's file with the checksum of the one that was saved."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.faiss"
        path.write_bytes(data)
        if data != GRAPH:
            with pytest.raises(StoreCorrupt, match="does not match its checksum"):
                load_older(path, zlib.crc32(GRAPH))


def of_crafted_graph(data: bytes) -> None:
    """A graph's file with a checksum that was made to fit: no more memory than the file has bytes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.faiss"
        path.write_bytes(data)
        load_older(path, zlib.crc32(data))


def of_calibration(data: bytes) -> None:
    """calibration.json: what was saved, or none."""
    with TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        layout.collection.mkdir(parents=True)
        layout.calibration.write_bytes(data)
        kept = Calibrations(layout)._kept
    assert kept is None or kept.to_json() == CALIBRATION.to_json()


def of_restore(data: bytes) -> None:
    """A restored directory, or nothing that opens as an index."""
    with TemporaryDirectory() as folder:
        target = Path(folder) / "data"
        try:
            restore(io.BytesIO(data), target, len(data))
        except FunnelError:
            assert not Layout(target).exists()
            assert [path for path in Path(folder).rglob("*") if path.name != "LOCK"] in ([], [target])
            raise


def of_listed(data: bytes) -> None:
    """The record of a snapshot's file, in the list of snapshots."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        path.write_bytes(data)
        record_of(path)


def graph_bytes() -> bytes:
    """The file of a graph of nine rows."""
    rows = unit_vectors(9, 2)
    graph = Graph.empty(rows, "float32").extended(rows)
    assert graph is not None
    with TemporaryDirectory() as folder:
        graph.save(Path(folder) / "graph")
        return (Path(folder) / "graph").read_bytes()


def snapshot_bytes() -> bytes:
    """A snapshot of three documents."""
    with TemporaryDirectory() as folder, Store.open(Path(folder) / "data", SPACE) as store:
        documents = [
            Document(name, "text", vector=vector) for name, vector in zip("abc", unit_vectors(3, DIM), strict=True)
        ]
        store.write(documents, {})
        return store.snapshots.path(store.snapshots.make()["name"]).read_bytes()


GRAPH, SNAPSHOT = graph_bytes(), snapshot_bytes()
UNNAMED = calibration_of(calibration_id="")
CALIBRATION = replace(UNNAMED, calibration_id=named(UNNAMED))
SAVED = {"file": "shortlist-1-9.faiss", "rows": 9, "codes": "float32", "checksum": zlib.crc32(GRAPH)}
MANIFEST = {"format": "funnel-search", "version": 1, "created": 1}  # of an earlier program, without a checksum
HEAD = SNAPSHOT[512 : SNAPSHOT.index(b"\0", 512)]
PARSERS = {
    "manifest": Parser(
        mutated(json.dumps(MANIFEST).encode(), deep()) | records(MANIFEST).map(str.encode),
        in_folder(lambda root: Layout(root).check_format(), "manifest.json"),
        (StoreFormat,),
    ),
    "space": Parser(records(json.loads(SPACE.to_json())), Space.from_json, (StoreCorrupt,)),
    "matrices": Parser(
        records({"rotation": ROTATION, "query_map": PART})
        | records(ROTATION).map(lambda text: f'{{"rotation": {text}, "query_map": null}}'),
        of_matrices,
        (StoreCorrupt,),
    ),
    "matrix": Parser(mutated(MATRIX, MATRIX.replace(b"(4, 4)", b"(9**9,)")), of_matrix, (StoreCorrupt,)),
    "record of a graph": Parser(records(SAVED), of_snapshot, ()),
    "graph": Parser(mutated(GRAPH), of_graph, ()),
    "crafted graph": Parser(mutated(GRAPH), of_crafted_graph, (StoreCorrupt,)),
    "calibration": Parser(
        mutated(CALIBRATION.to_json().encode(), deep()) | records(json.loads(CALIBRATION.to_json())).map(str.encode),
        of_calibration,
        (),
    ),
    "header of a snapshot": Parser(
        mutated(HEAD, deep()) | records(json.loads(HEAD)).map(str.encode), read_header, (StoreFormat,)
    ),
    "snapshot in a list": Parser(mutated(SNAPSHOT), of_listed, (StoreFormat, StoreCorrupt)),
    "restored snapshot": Parser(mutated(SNAPSHOT), of_restore, (StoreFormat, StoreCorrupt)),
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

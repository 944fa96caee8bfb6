#!/usr/bin/env python
"""Makes tests/fixtures/format-<version>.tar.gz, a data directory as this program writes it, and beside it its answers.

One is kept of each format version for ever: `tests/test_fixtures.py` opens all of them. Run this before a change of
the format is merged, never for a version that has its fixture already:

    python scripts/make_fixture.py
"""

import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from index import merger
from index.document import Document
from index.manifest import FORMAT_VERSION
from index.options import StoreOptions
from index.query import Query
from index.rotation import QueryMap, Rotation
from index.space import Space
from index.store import Store

ROOT = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
SPACE = Space(16, 4, {"model": "fixture"})
COUNT, QUERIES, LIMIT = 40, 5, 5
FILTER = {"kind": "b", "n": {"$gte": 10}}
OPTIONS = StoreOptions(shortlist_index="hnsw")


def rows(count: int, seed: int) -> np.ndarray:
    """(count, 16) float32 unit rows."""
    found = np.random.default_rng(seed).standard_normal((count, SPACE.dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def orthogonal(seed: int) -> np.ndarray:
    """An orthogonal (16, 16) float32 matrix."""
    square = np.random.default_rng(seed).standard_normal((SPACE.dim, SPACE.dim))
    return np.linalg.qr(square)[0].astype(np.float32)


def fill(path: Path) -> None:
    """A directory with every kind of file and row: replaced, deleted and repainted documents, matrices, a graph."""
    documents = [
        Document(f"d{i:02}", f"Text number {i}.", f"Title {i}" if i % 3 else None, {"n": i, "kind": "ab"[i % 2]})
        for i in range(COUNT)
    ]
    with Store.open(path, SPACE, OPTIONS) as store:
        store.write(documents, dict(enumerate(rows(COUNT, 0))))
        store.rotate(Rotation(orthogonal(1), (4, 16), "pca", {"note": "fixture"}))
        store.set_query_map(QueryMap(orthogonal(2), {"note": "fixture"}))
        changed = [Document(f"d{i:02}", "replaced", metadata={"kind": "b"}) for i in (3, 5)]
        store.write(changed, dict(enumerate(rows(2, 3))))
        store.delete(["d07", "d39"])
        store.update_metadata("d08", lambda found: {**found.metadata, "tags": ["x", {"deep": [1, None]}]})


def answers(store: Store, queries: np.ndarray) -> dict[str, Any]:
    """What searches for (q, 16) vectors find: ids and scores, by the kind of search."""
    kinds = {"funnel": {"shortlist": COUNT}, "exact": {"exact": True}, "filtered": {"exact": True, "filter": FILTER}}
    return {
        name: [
            [[hit.doc_id, round(hit.score, 5)] for hit in answer.hits]
            for answer in store.search(queries, Query(limit=LIMIT, **options))
        ]
        for name, options in kinds.items()
    }


def packed(path: Path) -> bytes:
    """The directory as a .tar.gz without names and times of the machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for file in sorted(path.rglob("*")):
            entry = archive.gettarinfo(file, str(file.relative_to(path)))
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            with file.open("rb") if file.is_file() else io.BytesIO() as content:
                archive.addfile(entry, content)
    return buffer.getvalue()


def main() -> int:
    target = ROOT / f"format-{FORMAT_VERSION}.tar.gz"
    if target.exists():
        print(f"{target} exists, and stays as it is: it is what that version wrote", file=sys.stderr)
        return 1
    merger.MIN_MERGE = 10  # else a graph would need a thousand rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        fill(path)
        data = packed(path)
        with Store.open(path, None, OPTIONS) as store:
            queries = rows(QUERIES, 4)
            told = {"count": store.count(), "queries": queries.tolist(), "answers": answers(store, queries)}
    ROOT.mkdir(exist_ok=True)
    target.write_bytes(data)
    target.with_name(f"format-{FORMAT_VERSION}.json").write_text(json.dumps(told) + "\n")
    print(f"{target}: {len(data):,} bytes, {told['count']} documents")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A compaction and SIGKILL: at every step the next start has the old generation or the new one, and every document."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index import merger
from index.document import Document
from index.query import Query
from index.verify import verify
from index_cases import GRAPH, documents, fill, numbered, opened, unit_vectors, until

V, LATER = unit_vectors(120), unit_vectors(40, seed=5)
CHILD = '''
import os, shutil, sys
from pathlib import Path
from dying import die_at_each
from index import copying, merger
from test_compaction_crash import GRAPH, Writes, opened

merger.MIN_MERGE = 20  # a graph of few rows
folder, stride = Path(sys.argv[1]), int(sys.argv[2])

def compact(dying):
    """Compact a copy while others write."""
    path = folder / f"{dying.last:04}"
    shutil.copytree(folder / "before", path)
    store = opened(path, GRAPH)
    writes = Writes(store)
    dying.around(os, "fsync", "posix_fallocate")
    dying.around(Path, "replace", "unlink")
    dying.around(copying.Copy, "add", "remove", "repaint", "state", "close")
    store._documents._writer.set_trace_callback(dying.step)  # before BEGIN, UPDATE and COMMIT, and the checkpoint
    store.compact(writes)

die_at_each(range(0, 10_000, stride), compact)
'''


class Writes:
    """A progress callback that writes: all kinds, some of them when all but the last commits was copied."""

    def __init__(self, store: object) -> None:
        self.store, self.done = store, 0

    def __call__(self, done: int, total: int) -> None:
        if self.done == 0 or (done == total and self.done == 1):
            self.done += 1
            change(self.store, self.done)


def change(store: object, number: int) -> None:
    """New documents, an upsert, a delete and a change of metadata."""
    ids = [f"n{number}-{i}" for i in range(5)]
    store.write(documents(ids), dict(enumerate(LATER[5 * number :])))  # type: ignore[attr-defined]
    store.write([Document(f"d0007{number}", f"again {number}")], {0: LATER[number]})  # type: ignore[attr-defined]
    store.delete([f"d0008{number}"])  # type: ignore[attr-defined]
    store.update_metadata(f"d0009{number}", lambda _: {"n": 100 + number})  # type: ignore[attr-defined]


def outcome(path: Path) -> tuple[int, int]:
    """(generation, writes seen) after a crash: checked in every byte, and searched."""
    report = verify(path)
    assert report.ok, [check for check in report.checks if not check.ok]
    with opened(path, GRAPH) as store:
        view = store.view
        assert np.array_equal(
            view.shortlist.prefixes(np.arange(view.rows)), view.prefixes(view.codec.decode(view.matrix))
        )
        of_generation = {f"vectors-{view.generation}.bin", f"vectors-{view.generation}.crc"}
        sqlite = {"documents.sqlite", "documents.sqlite-shm", "documents.sqlite-wal"}
        left = {p.name for p in store.layout.collection.iterdir()} - sqlite - of_generation
        assert all(name.startswith(f"shortlist-{view.generation}-") for name in left), left
        assert len(left) <= 1
        written = 0
        while store.get([f"n{written + 1}-0"]):
            written += 1
        check(store, written)
        return view.generation, written


def check(store: object, written: int) -> None:
    """Every document is there, with its text, its vector and its metadata, and no other; parts of one write may be."""
    found = {d.doc_id: d for d in store.scroll(1_000, with_vector=True)[0]}  # type: ignore[attr-defined]
    for i, doc_id in enumerate(numbered(120)):
        number = int(doc_id[-1])
        touched = doc_id[:5] in ("d0007", "d0008", "d0009") and 1 <= number <= written + 1
        if doc_id[:5] == "d0008" and 1 <= number < written:
            assert doc_id not in found
        elif i >= 60 or i % 2 == 0:
            if not touched:
                assert (found[doc_id].text, found[doc_id].metadata) == (f"text of {doc_id}", {"n": i})
                assert np.allclose(found[doc_id].vector, V[i], atol=1e-6)
        elif not touched:
            assert doc_id not in found
    for n in range(1, written + 1):
        for i in range(5):
            assert np.allclose(found[f"n{n}-{i}"].vector, LATER[5 * n + i], atol=1e-6)
    hits = store.search(V[100], Query(limit=1, exact=True))[0].hits  # type: ignore[attr-defined]
    assert [(hit.doc_id, hit.text) for hit in hits] == [("d00100", "text of d00100")]


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.long)])
def test_a_kill_leaves_the_old_generation_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, record_property: Callable[[str, object], None]
) -> None:
    """Before and after every fsync, allocation, rename, removal, statement and part of the copy; now, every ninth."""
    monkeypatch.setattr(merger, "MIN_MERGE", 20)
    with opened(tmp_path / "before", GRAPH) as store:
        fill(store, V, lambda i: {"n": i})
        until(lambda: store.view.shortlist.older_rows == 120)
        store.delete([doc_id for i, doc_id in enumerate(numbered(60)) if i % 2])
    here = Path(__file__).parent
    environment = {"PYTHONPATH": f"{here}:{here.parent}", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = [outcome(path) for path in sorted(tmp_path.glob("0*"))]
    generations = [generation for generation, _ in found]
    record_property("kills", len(found) - 1)
    assert len(found) >= 90 // stride
    assert (generations[0], generations[-1]) == (1, 2)
    assert generations == sorted(generations)
    assert {written for _, written in found} >= {1, 2}

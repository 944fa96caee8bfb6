"""A rotation and SIGKILL: at every step of applying or undoing one, the next start has the old one or the new one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from index.rotation import Rotation
from index.verify import verify
from index_cases import GRAPH, fill, numbered, opened, random_rotation, unit_vectors, until

V = unit_vectors(1_300)
CHILD = '''
import os, shutil, sys
from pathlib import Path
import numpy as np
from dying import die_at_each
from index.rotation import QueryMap, Rotation
from index_cases import GRAPH, fill, opened, random_rotation, unit_vectors

folder, what = Path(sys.argv[1]), sys.argv[2]
V = unit_vectors(1_300)[1_200:]

def change(dying):
    """Apply it to a copy."""
    path = folder / f"{dying.last:04}"
    shutil.copytree(folder / "before", path)
    store = opened(path, GRAPH)
    fill(store, V, start=1_200)  # what was acknowledged just before
    dying.around(os, "fsync")
    dying.around(Path, "replace", "unlink")
    dying.around(store._merger, "saved")
    store._documents._writer.set_trace_callback(dying.step)  # before BEGIN, UPDATE and COMMIT
    if what == "rotate":
        store.rotate(Rotation(random_rotation(seed=1), (8,), "new"))
    elif what == "undo":
        store.rotate(None)
    else:
        store.set_query_map(QueryMap(np.eye(32) * 2))

die_at_each(range(10_000), change)
'''


def prepare(path: Path, rotated: bool) -> None:
    """1,200 documents in a saved graph, with an old rotation or without."""
    with opened(path, GRAPH) as store:
        fill(store, V[:1_200])
        until(lambda: store.view.shortlist.older_rows == 1_200)
        if rotated:
            store.rotate(Rotation(random_rotation(seed=2), (8,), "old"))


def outcome(path: Path) -> str:
    """What is in force after a crash: checked in every byte, and searched."""
    report = verify(path)
    assert report.ok, [check for check in report.checks if not check.ok]
    with opened(path, GRAPH) as store:
        assert [d.doc_id for d in store.get(numbered(1_300))] == numbered(1_300)
        view = store.view
        expected = view.prefixes(view.codec.decode(view.matrix))
        assert np.array_equal(view.shortlist.prefixes(np.arange(view.rows)), expected)
        named = {"documents.sqlite", "documents.sqlite-shm", "documents.sqlite-wal", "vectors-1.bin", "vectors-1.crc"}
        left = {p.name.split("-")[0] for p in store.layout.collection.iterdir() if p.name not in named}
        assert left <= {"shortlist", "rotation", "query"}
        assert len(list(store.layout.collection.glob("rotation-*"))) == (view.rotation is not None)
        assert len(list(store.layout.collection.glob("query-map-*"))) == (view.query_map is not None)
        if view.query_map is not None:
            return "mapped"
        return "none" if view.rotation is None else view.rotation.method


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [("rotate", "none", "new"), ("rotate", "old", "new"), ("undo", "old", "none"), ("map", "none", "mapped")],
)
def test_a_kill_leaves_the_old_one_or_the_new_one(tmp_path: Path, what: str, old: str, new: str) -> None:
    """Before and after every fsync, rename, removal and statement: first the old one, from some step on the new."""
    prepare(tmp_path / "before", rotated=old == "old")
    here = Path(__file__).parent
    environment = {"PYTHONPATH": f"{here}:{here.parent}", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path, what], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = [outcome(path) for path in sorted(tmp_path.glob("0*"))]
    assert len(found) >= 10
    assert (found[0], found[-1]) == (old, new)
    assert found == sorted(found, key=[old, new].index)

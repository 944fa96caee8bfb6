"""Gives up a rotation or a query map whose file is lost or damaged: vectors and texts do not need them."""

import json
from pathlib import Path

from index.errors import StoreCorrupt
from index.matrices import load_part, parts
from index.opening import offline
from index.space import Space


def forget_damaged(path: Path) -> list[str]:
    """Remove from a closed directory the matrices that cannot be read; returns their names, [] when all can be.

    The next start makes the prefixes again. Raises StoreLocked, StoreFormat, StoreCorrupt.
    """
    with offline(Path(path)) as (layout, documents):
        state = documents.state()
        dim = Space.from_json(state.space).dim
        kept, lost = {}, []
        for name, record in zip(("rotation", "query_map"), parts(state.rotation), strict=True):
            kept[name] = record
            try:
                if record is not None:
                    load_part(record, layout.collection, dim)
            except StoreCorrupt:
                kept[name] = None
                lost.append(name)
        if lost:
            snapshot = None if "rotation" in lost else state.snapshot
            left = json.dumps(kept) if any(kept.values()) else None
            with documents.transaction() as db:
                db.execute("UPDATE state SET rotation = ?, snapshot = ?, commits = commits + 1", (left, snapshot))
        return lost

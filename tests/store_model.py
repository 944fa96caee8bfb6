"""What a store is compared with: a dictionary of what was written into it."""

from pathlib import Path
from typing import Any

import numpy as np

from index.layout import Layout
from index.space import Space
from index.store import Store
from index_cases import unit_vectors

VECTORS = unit_vectors(40, 8)
SPACE = Space(8, 2, {"model": "test"})
filters: dict[str, Any] = {
    "n": {"n": {"$gte": 2}},
    "no n": {"n": {"$exists": False}},
    "x": {"tags": "x"},
    "neither": {"$not": {"$or": [{"tags": "x"}, {"n": 0}]}},
}


def matches(name: str, metadata: dict[str, Any]) -> bool:
    """The filters of that name, in Python."""
    n, tags = metadata.get("n"), metadata.get("tags", [])
    return {
        "n": n is not None and n >= 2,
        "no n": n is None,
        "x": "x" in tags,
        "neither": not ("x" in tags or n == 0),
    }[name]


Known = dict[str, tuple[str, dict[str, Any], int]]


def agree(store: Store, known: Known) -> None:
    """Counts, order and content are those of the dictionary, by every way of asking."""
    everything, end = store.scroll(1_000)
    assert end is None
    assert [d.doc_id for d in everything] == sorted(known, key=str.encode)
    assert {d.doc_id: (d.text, d.metadata) for d in everything} == {i: k[:2] for i, k in known.items()}
    assert store.count() == len(known)
    for name, filter in filters.items():
        assert store.count(filter) == sum(matches(name, k[1]) for k in known.values())


def vectors_of(store: Store, known: Known, name: str | None = None) -> dict[str, np.ndarray]:
    """Decoded vectors of the documents that match."""
    codec = store.view.codec
    return {
        doc_id: codec.decode(codec.encode(VECTORS[vector][None]))[0]
        for doc_id, (_, metadata, vector) in known.items()
        if name is None or matches(name, metadata)
    }


def strays(path: Path) -> set[str]:
    """Files of a closed directory that nothing in it names."""
    layout = Layout(path)
    with Store.open(path, SPACE) as store:
        view, stats = store.view, store.stats()
        named = {layout.documents, layout.vectors(view.generation), layout.checksums(view.generation)}
    if view.rotation is not None:
        named.add(layout.collection / layout.rotation_name(view.rotation.checksum))
    found = {file for file in layout.collection.iterdir() if not file.name.startswith("shortlist-")}
    assert len(list(layout.collection.glob("shortlist-*"))) <= 1, stats
    return {file.name for file in found - named}

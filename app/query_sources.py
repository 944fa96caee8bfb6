"""Where the queries come from that recall is measured with.

Best are queries that users ask: given ones, or recent live ones. Stored documents are stand-ins, by their titles (or
first sentences) sent through the model's query prompt, or as they are: what is measured with them tells about
documents, and no guarantee is claimed.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from app.encoder import Encoder, EncoderBusy
from app.problems import Refused
from app.recall_requests import RecallRequest
from app.reservoir import Reservoir
from index.calibrating import Asked
from index.document import StoredDocument
from index.errors import InvalidVector
from index.store import Store

ENOUGH_LIVE = 200
FEW, MANY, LARGE = 1_000, 2_000, 20_000  # queries by default, and from how many documents on there are more
SPARE = 1.25  # documents drawn for each title wanted: some have none, some share one
LONGEST = 300  # characters of a first sentence
PAUSE = 0.2  # seconds before a full queue is tried again
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")

T = TypeVar("T")
Progress = Callable[[int, int], None]


class QuerySources:
    """Chooses queries for a request. Called from a background thread while the event loop runs."""

    def __init__(self, store: Store, encoder: Encoder | None, loop: asyncio.AbstractEventLoop, live: Reservoir) -> None:
        """`live` has (n, width) vectors of recent queries."""
        self._store, self._encoder, self._loop, self._live = store, encoder, loop, live

    def check(self, request: RecallRequest) -> None:
        """Refuse at once what cannot be had; InvalidVector for a vector that cannot be used."""
        if request.vectors is not None:
            self._store.measuring.units(request.vectors)
        if self._encoder is None and (request.queries is not None or request.source == "titles"):
            raise Refused("no-model", f"this service has no model: send vectors of {self._store.space.dim} numbers")
        if request.source == "live" and (kept := len(self._live)) < ENOUGH_LIVE:
            raise Refused(
                "validation",
                f"at least {ENOUGH_LIVE} live queries are needed, {kept} were kept; see FUNNEL_KEEP_QUERIES",
            )

    def choose(self, request: RecallRequest, seed: int, progress: Progress) -> Asked:
        """The queries in random order; `progress` gets (queries had, queries wanted)."""
        asked = self._chosen(request, seed, progress)
        return asked.part(np.random.default_rng(seed).permutation(len(asked.vectors)))

    def _chosen(self, request: RecallRequest, seed: int, progress: Progress) -> Asked:
        number = request.sample or (MANY if self._store.count() >= LARGE else FEW)
        if request.vectors is not None:
            return self._asked(some(request.vectors, request.sample, seed), "vectors", True)
        if request.queries is not None:
            texts = some(list(dict.fromkeys(request.queries)), request.sample, seed)
            return self._asked(self._embedded(texts, progress, skips=False), "queries", True)
        if request.source in (None, "live") and len(self._live) >= ENOUGH_LIVE:
            return self._asked(self._live.vectors(number), "live", True)
        if request.source in (None, "titles") and self._encoder is not None:
            texts = self._titles(number, seed)
            if request.source == "titles" or 2 * len(texts) >= min(number, self._store.count()):
                return self._asked(self._embedded(texts, progress, skips=True), "titles", False)
        vectors, rows, generation = self._store.measuring.draw_vectors(number, seed)
        return Asked(vectors, "documents", False, rows, generation)

    def _asked(self, vectors: Sequence[np.ndarray] | np.ndarray, source: str, guaranteed: bool) -> Asked:
        return Asked(self._store.measuring.units(vectors), source, guaranteed)

    def _titles(self, number: int, seed: int) -> list[str]:
        """Different texts that ask for stored documents."""
        documents = self._store.measuring.draw(int(SPARE * number), seed)
        return list(dict.fromkeys(filter(None, map(question, documents))))[:number]

    def _embedded(self, texts: list[str], progress: Progress, skips: bool) -> np.ndarray:
        """(n, dim) vectors; with `skips` texts that the model makes no vector of are left out."""
        parts = [np.empty((0, self._store.space.dim), dtype=np.float32)]
        for place, text in enumerate(texts):  # one by one: a live query never waits for more than one of them
            progress(place, len(texts))
            parts.append(self._one(text, partial(progress, place, len(texts)), skips))
        progress(len(texts), len(texts))
        return np.concatenate(parts)

    def _one(self, text: str, wait: Callable[[], None], skips: bool) -> np.ndarray:
        assert self._encoder is not None
        while True:
            try:
                return asyncio.run_coroutine_threadsafe(self._encoder.unasked([text]), self._loop).result()
            except EncoderBusy:
                time.sleep(PAUSE)
                wait()
            except InvalidVector:
                if not skips:
                    raise
                return np.empty((0, self._store.space.dim), dtype=np.float32)


def some(given: Sequence[T] | np.ndarray, number: int | None, seed: int) -> list[T]:
    """At most so many of what is given, drawn at random; None takes all."""
    return [given[place] for place in np.random.default_rng(seed).permutation(len(given))[:number]]


def question(document: StoredDocument) -> str:
    """The title, or the first sentence of a document without one; "" when it has no text at all."""
    title = (document.title or "").strip()
    return title or SENTENCE.split(document.text.strip(), maxsplit=1)[0][:LONGEST].strip()

"""The encoder: two lanes, joint batches, bounds, a cache."""

import asyncio
import sys
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from app.busy import ShuttingDown
from app.embedder import Embedded
from app.encoder import Encoder, EncoderBusy
from app.worker import Worker
from embedders import HashEmbedder


class Watched(HashEmbedder):
    """Remembers its batches; the texts "wait" and "fail" do so."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.gate, self.waiting = threading.Event(), threading.Event()

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """As ever, unless a text says otherwise."""
        self._work(texts)
        return super().embed_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """As ever, unless a text says otherwise."""
        self._work(texts)
        return Embedded(super().embed_queries(texts), np.array([len(text) > 9 for text in texts]))

    def _work(self, texts: Sequence[str]) -> None:
        self.batches.append(list(texts))
        if "wait" in texts:
            self.waiting.set()
            assert self.gate.wait(60)
        if "fail" in texts:
            raise ValueError("this text fails")


@pytest.fixture
def embedder() -> Watched:
    """An embedder that can be watched."""
    return Watched()


async def _held(encoder: Encoder, embedder: Watched) -> "asyncio.Task[object]":
    """A task whose query keeps the query lane busy until the gate opens."""
    held = asyncio.create_task(encoder.queries(["wait"]))
    await asyncio.to_thread(embedder.waiting.wait, 60)
    return held


def test_vectors_are_those_of_the_model(embedder: Watched) -> None:
    """Queries, also repeated ones, come back in their order; documents say which were cut."""

    async def run() -> None:
        encoder = Encoder(embedder, 4, 4, 8)
        texts = ["a", "b", "a"]
        np.testing.assert_array_equal((await encoder.queries(texts)).vectors, embedder.embed_queries(texts))
        embedded = await encoder.documents(["short", "a longer text"])
        assert embedded.truncated.tolist() == [False, True]
        encoder.close()

    asyncio.run(run())


def test_a_repeated_query_is_remembered(embedder: Watched) -> None:
    """The model sees a text once while the cache has it, and again when it was pushed out."""

    async def run() -> None:
        encoder = Encoder(embedder, 4, 4, query_cache=2)
        for text in ("a", "a", "b", "a", "c", "b"):  # c pushes out b, the least recently used
            await encoder.queries([text])
        encoder.close()

    asyncio.run(run())
    assert embedder.batches == [["a"], ["b"], ["c"], ["b"]]


def test_nothing_is_remembered_without_a_cache(embedder: Watched) -> None:
    """With a cache of size 0 every query goes to the model."""

    async def run() -> None:
        encoder = Encoder(embedder, 4, 4, query_cache=0)
        await encoder.queries(["a"])
        await encoder.queries(["a"])
        encoder.close()

    asyncio.run(run())
    assert embedder.batches == [["a"], ["a"]]


def test_waiting_queries_are_embedded_together(embedder: Watched) -> None:
    """What arrives while the model computes becomes one batch."""

    async def run() -> None:
        encoder = Encoder(embedder, 8, 4, 0)
        held = await _held(encoder, embedder)
        waiting = [asyncio.create_task(encoder.queries([text])) for text in "abc"]
        await asyncio.sleep(0)
        embedder.gate.set()
        results = await asyncio.gather(*waiting)
        await held
        for text, result in zip("abc", results, strict=True):
            np.testing.assert_array_equal(result.vectors, HashEmbedder().embed_queries([text]))
            assert result.queue_ms > 0
        encoder.close()

    asyncio.run(run())
    assert embedder.batches == [["wait"], ["a", "b", "c"]]


def test_a_full_queue_refuses(embedder: Watched) -> None:
    """The bound counts waiting jobs; one more raises EncoderBusy, and others are not harmed."""

    async def run() -> None:
        encoder = Encoder(embedder, 2, 4, 0)
        held = await _held(encoder, embedder)
        waiting = [asyncio.create_task(encoder.queries([text])) for text in "ab"]
        await asyncio.sleep(0)
        assert encoder.depths == {"query": 2, "document": 0}
        with pytest.raises(EncoderBusy, match="2 query jobs"):
            await encoder.queries(["c"])
        embedder.gate.set()
        await asyncio.gather(held, *waiting)
        encoder.close()

    asyncio.run(run())


def test_one_bad_text_does_not_spoil_its_batch(embedder: Watched) -> None:
    """When a joint batch fails its jobs are computed one by one."""

    async def run() -> None:
        encoder = Encoder(embedder, 8, 4, 0)
        held = await _held(encoder, embedder)
        waiting = [asyncio.create_task(encoder.queries([text])) for text in ("a", "fail", "b")]
        await asyncio.sleep(0)
        embedder.gate.set()
        good, bad, fine = await asyncio.gather(*waiting, return_exceptions=True)
        await held
        assert isinstance(bad, ValueError)
        assert not isinstance(good, BaseException)
        assert not isinstance(fine, BaseException)
        encoder.close()

    asyncio.run(run())


def test_queries_never_wait_behind_documents(embedder: Watched) -> None:
    """A query is answered while documents are being embedded."""

    async def run() -> None:
        encoder = Encoder(embedder, 4, 4, 0)
        documents = asyncio.create_task(encoder.documents(["wait"]))
        await asyncio.to_thread(embedder.waiting.wait, 60)
        await asyncio.wait_for(encoder.queries(["a"]), 30)
        assert not documents.done()
        embedder.gate.set()
        await documents
        encoder.close()

    asyncio.run(run())


def test_a_cancelled_query_is_not_computed(embedder: Watched) -> None:
    """A job whose caller went away while it waited never reaches the model."""

    async def run() -> None:
        encoder = Encoder(embedder, 4, 4, 0)
        held = await _held(encoder, embedder)
        gone = asyncio.create_task(encoder.queries(["gone"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        embedder.gate.set()
        await held
        await encoder.queries(["next"])
        encoder.close()

    asyncio.run(run())
    assert embedder.batches == [["wait"], ["next"]]


def test_any_number_of_cancelled_jobs_leaves_the_lane_alive() -> None:
    """More rounds in which all that waited was cancelled than Python has stack for."""

    async def run() -> None:
        worker = Worker("test", HashEmbedder().embed_queries, lambda rows, start, stop: rows[start:stop], 4, 4)
        for _ in range(sys.getrecursionlimit()):
            with worker._changed:  # the lane cannot take the job before it is cancelled
                job = asyncio.create_task(worker.do(["gone"]))
                await asyncio.sleep(0)
                job.cancel()
                await asyncio.gather(job, return_exceptions=True)
            while worker.depth:
                await asyncio.sleep(0)
        assert len((await asyncio.wait_for(worker.do(["next"]), 60)).value) == 1
        worker.close()

    asyncio.run(asyncio.wait_for(run(), 300))


def test_closing_finishes_what_runs_and_refuses_what_waits(embedder: Watched) -> None:
    """After close the running job has its result, the waiting one an error, and no thread is left."""

    async def run() -> None:
        encoder = Encoder(embedder, 4, 4, 0)
        held = await _held(encoder, embedder)
        waits = asyncio.create_task(encoder.queries(["a"]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(encoder.close))
        with pytest.raises(ShuttingDown):
            await waits
        embedder.gate.set()
        await asyncio.gather(closing, held)
        with pytest.raises(ShuttingDown):
            await encoder.queries(["b"])

    asyncio.run(run())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encode-")]

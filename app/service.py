"""What the routes work with: opened once, closed in reverse order."""

import logging
from asyncio import Event, Lock
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Request

from app.busy import Slots
from app.easing import Easing
from app.embedder import Embedder, load_embedder
from app.encoder import Encoder
from app.idle import Idle
from app.metrics import Metrics
from app.pools import Pool
from app.recalling import Recalls, open_recalls
from app.reservoir import Reservoir
from app.scrubbing import Scrubbing
from app.settings import Settings, SettingsError, store_options, unknown_variables, variables
from app.shared import Shared
from app.truth import Truth, open_truth
from index.space import Space
from index.store import Store

READ_THREADS = 8  # reads of documents
WRITE_THREADS = 32  # writes of documents and long work; they wait for the disk, and those that meet share one fsync
UNTRAINED_PREFIX_DIM = 64
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """One open index and the model beside it."""

    settings: Settings
    store: Store
    embedder: Embedder | None
    encoder: Encoder | None
    searches: Pool
    calls: Pool
    writes: Pool
    ingests: Slots
    metrics: Metrics
    reservoir: Reservoir
    truth: Truth
    recall: Recalls
    easing: Easing
    scrubbing: Scrubbing
    stopping: Event  # set at the begin of a shutdown: long work ends at its next safe point
    probing: Shared = field(default_factory=Shared)
    patching: Lock = field(default_factory=Lock)  # a patch reads, changes and writes: one at a time

    @property
    def waiting(self) -> dict[str, int]:
        """How much work waits, by queue."""
        encoding = self.encoder.depths if self.encoder else {}
        return {
            **encoding,
            "search": self.searches.depth,
            "store": self.calls.depth,
            "write": self.writes.depth,
            "ingest": self.ingests.taken,
        }

    @property
    def notice(self) -> str | None:
        """What a user should know about how this service searches."""
        if self.store.space.exact_only and self.store.rotation is not None:
            return None  # what follows is about searches without a rotation
        if self.embedder is not None:
            return self.embedder.notice
        if self.store.space.exact_only:
            return (
                "No prefix of the vectors is known to carry a ranking: every search is exact. "
                "If the vectors have a trained prefix, start with FUNNEL_PREFIX_DIM set to its width; if not, "
                "`funnel adapt` learns a rotation from the stored vectors that makes them one."
            )
        return None


@asynccontextmanager
async def open_service(
    settings: Settings, embedder: Embedder | None, metrics: Metrics, stopping: Event
) -> AsyncIterator[Service]:
    """Load the model and open the index; at the end finish what runs and close the index last. Meanwhile the event
    loop goes on: who waits for a rotation is told to give it up.

    Raises ModelError, FingerprintMismatch, StoreLocked, StoreCorrupt, StoreFormat or SettingsError.
    """
    async with AsyncExitStack() as stack:
        if embedder is None:
            embedder = await anyio.to_thread.run_sync(load_model, settings)
        store = await anyio.to_thread.run_sync(open_store, settings, embedder)
        stack.callback(store.close)
        encoder = None
        if embedder is not None:
            encoder = Encoder(embedder, settings.query_queue, settings.ingest_queue, settings.query_cache)
            stack.callback(encoder.close)
        searches = Pool("search", settings.search_threads, settings.search_queue)
        stack.push_async_callback(anyio.to_thread.run_sync, searches.close)
        calls = Pool("store", READ_THREADS, settings.search_queue)
        stack.push_async_callback(anyio.to_thread.run_sync, calls.close)
        writes = Pool("write", WRITE_THREADS, settings.search_queue)
        stack.push_async_callback(anyio.to_thread.run_sync, writes.close)
        ingests = Slots("ingests", settings.ingest_queue)
        reservoir = Reservoir(settings.keep_queries)
        easing = Easing(settings.ease_recall, settings.search_threads, settings.default_recall)
        idle = Idle(lambda: searches.busy)
        recall = open_recalls(settings, store, encoder, searches, reservoir)
        stack.push_async_callback(anyio.to_thread.run_sync, recall.close)
        truth = open_truth(settings, store, metrics.truth, idle, recall.wanted)
        stack.push_async_callback(anyio.to_thread.run_sync, truth.close)
        scrubbing = Scrubbing(store, idle, settings.scrub_days, metrics.registry)
        stack.push_async_callback(anyio.to_thread.run_sync, scrubbing.close)
        service = Service(
            settings, store, embedder, encoder, searches, calls, writes, ingests, metrics, reservoir, truth, recall,
            easing, scrubbing, stopping,
        )  # fmt: skip
        for warning in filter(None, (service.notice, unknown_variables(variables()))):
            log.warning(warning)
        yield service


def load_model(settings: Settings) -> Embedder | None:
    """The model of the settings, computing with `encode_threads` threads; None for FUNNEL_MODEL=none."""
    embedder = load_embedder(settings, Store.stored_rotation(settings.data_dir))
    if embedder is not None and settings.encode_threads is not None:
        limit_threads(settings.encode_threads)
    return embedder


def limit_threads(number: int) -> None:
    """Let torch compute with this many threads, in the whole process."""
    import torch  # only here: a service without a model never loads it

    torch.set_num_threads(number)


def open_store(settings: Settings, embedder: Embedder | None) -> Store:
    """The store of the settings, in the embedder's space or, without one, in that of FUNNEL_DIM or the directory."""
    space = embedder.space if embedder else space_without_model(settings)
    return Store.open(settings.data_dir, space, store_options(settings))


def space_without_model(settings: Settings) -> Space:
    """A space for vectors of unknown origin; without FUNNEL_DIM it is that of the directory.

    Whether their first numbers carry a ranking is not known: searches are exact unless FUNNEL_PREFIX_DIM says so.
    """
    if settings.dim is None:
        known = Store.stored_space(settings.data_dir)
        if known is None:
            raise SettingsError("FUNNEL_DIM: a new index without a model needs the width of its vectors")
    else:
        prefix_dim = min(UNTRAINED_PREFIX_DIM, settings.dim)
        known = Space(settings.dim, prefix_dim, {"model": "none"}, exact_only=True)
    if settings.prefix_dim == "auto":
        return replace(known, exact_only=known.exact_only and not settings.allow_untrained_prefix)
    if not 1 <= settings.prefix_dim <= known.dim:
        raise SettingsError(
            f"FUNNEL_PREFIX_DIM: must be between 1 and the width of the vectors, {known.dim}, got {settings.prefix_dim}"
        )
    return replace(known, prefix_dim=settings.prefix_dim, exact_only=False)


async def _current(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_current)]

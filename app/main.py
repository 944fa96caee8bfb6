"""The application: the only place where its parts are put together."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from app import (
    openapi,
    problems,
    routes_compact,
    routes_docs,
    routes_documents,
    routes_embeddings,
    routes_ingest,
    routes_page,
    routes_recall,
    routes_rotation,
    routes_search,
    routes_service,
    routes_snapshots,
)
from app.access import cors, open_access
from app.access_guard import Guard
from app.access_headers import Headers
from app.access_keys import without_keys
from app.admission import Admission, Gate
from app.body import known_parameters
from app.direct import Direct, routes_of
from app.embedder import Embedder
from app.info import NAME
from app.metrics import Metrics
from app.middleware import Requests
from app.service import open_service
from app.settings import Settings, load_settings

log = logging.getLogger(__name__)
DESCRIPTION = (
    "Text in, ranked documents out: a shortlist on short prefixes of the vectors, a rerank with the full ones."
)

ROUTES = (
    routes_search,
    routes_ingest,
    routes_documents,
    routes_rotation,
    routes_recall,
    routes_embeddings,
    routes_compact,
    routes_snapshots,
    routes_service,
    routes_docs,
    routes_page,
)


def create_app(settings: Settings | None = None, embedder: Embedder | None = None) -> FastAPI:
    """The service. Settings come from the environment unless they are given, the model from the settings unless
    an embedder is given; both are opened when the application starts and closed when it ends."""
    chosen = load_settings() if settings is None else settings
    access, chosen = open_access(chosen), without_keys(chosen)
    metrics, admission = Metrics(), Admission(chosen)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(chosen, embedder, metrics, admission.stopping) as service:
            app.state.service = service
            log.info(access.summary)
            if chosen.trust_remote_code:
                log.warning("FUNNEL_TRUST_REMOTE_CODE: the model %s may run Python code of its own here", chosen.model)
            yield
            del app.state.service

    app = FastAPI(
        title="Funnel search",
        description=DESCRIPTION,
        version=version(NAME),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # looked for at every request; /metrics is ours
        dependencies=[Depends(known_parameters)],
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.admission = admission
    app.add_middleware(Direct, routes=routes_of(routes_search.router))
    app.add_middleware(Gate, admission=admission)
    app.add_middleware(Guard, access=access)
    if access.origins:
        app.add_middleware(CORSMiddleware, **cors(access))
    app.add_middleware(Headers)
    app.add_middleware(
        Requests, metrics=metrics, slow=chosen.log_slow_seconds
    )  # the last one added is the first that a request meets
    for routes in ROUTES:
        app.include_router(routes.router)
    routes_docs.mount(app)
    routes_page.mount(app)
    problems.install(app)
    openapi.install(app, access)
    return app

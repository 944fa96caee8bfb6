"""The application: the only place where its parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI

from app import (
    openapi,
    problems,
    routes_docs,
    routes_documents,
    routes_embeddings,
    routes_ingest,
    routes_recall,
    routes_rotation,
    routes_search,
    routes_service,
)
from app.body import known_parameters
from app.embedder import Embedder
from app.info import NAME
from app.metrics import Metrics
from app.middleware import Requests
from app.service import open_service
from app.settings import Settings, load_settings

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
    routes_service,
    routes_docs,
)


def create_app(settings: Settings | None = None, embedder: Embedder | None = None) -> FastAPI:
    """The service. Settings come from the environment unless they are given, the model from the settings unless
    an embedder is given; both are opened when the application starts and closed when it ends."""
    chosen = load_settings() if settings is None else settings
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(chosen, embedder, metrics) as service:
            app.state.service = service
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
        dependencies=[Depends(known_parameters)],
        generate_unique_id_function=lambda route: route.name,
    )
    app.add_middleware(Requests, metrics=metrics)
    for routes in ROUTES:
        app.include_router(routes.router)
    routes_docs.mount(app)
    problems.install(app)
    openapi.install(app)
    return app

"""The application behind a socket."""

import logging

import uvicorn

from app.embedder import Embedder
from app.main import create_app
from app.settings import Settings


def serve(settings: Settings, embedder: Embedder | None = None) -> bool:
    """Serve until SIGTERM or Ctrl-C; requests in flight get `shutdown_seconds` to finish, then the index closes.

    False when the service could not start; the log says why.
    """
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = uvicorn.Config(
        create_app(settings, embedder),
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level=settings.log_level,
        access_log=False,  # the application has a line of its own for each request
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    server = uvicorn.Server(config)
    server.run()
    return server.started

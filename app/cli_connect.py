"""Where a command gets its answers: a running service, or a directory served for as long as the command runs.

Either way the command speaks the same HTTP contract through the same client, and a directory is opened by the
same wiring, and under the same lock, as the service's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.client import Client
from app.client_keys import VARIABLE
from index.errors import StoreFormat, StoreLocked

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what a service on all addresses is reached at


@contextmanager
def connect(url: str | None, data_dir: Path | None, *, model: bool = True, create: bool = False) -> Iterator[Client]:
    """A client of `data_dir` when that is given, else of `url`, else of the service that the settings describe.

    `model` false opens a directory without loading its model; `create` true makes one that is missing.
    Raises StoreLocked when a service has the directory, and what else may keep it from opening.
    """
    if data_dir is None:
        with Client(url or own_url(), api_key=own_key(url)) as client:
            yield client
    else:
        with _directory(data_dir, model, create) as client:
            yield client


@contextmanager
def _directory(data_dir: Path, model: bool, create: bool) -> Iterator[Client]:
    from app.access import private
    from app.main import create_app
    from app.serving import in_process
    from app.settings import load_settings

    if not create:
        must_exist(data_dir)
    without: dict[str, Any] = {} if model else {"model": "none", "dim": None}
    settings = load_settings(data_dir=data_dir, auto_calibrate=False, **without)  # a command is over too soon for it
    settings = private(settings)
    hint = f"leave --data-dir out to ask the service that has it (--url {own_url()}), or stop it first"
    with (
        unlocked(hint),
        in_process(create_app(settings), settings) as transport,
        Client(transport=transport, timeout=3600.0) as client,
    ):
        yield client


def own_url() -> str:
    """Where a service with these settings listens: FUNNEL_HOST and FUNNEL_PORT, also from .env."""
    from app.settings import load_settings

    settings = load_settings()
    host = ANY_ADDRESS.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def own_key(url: str | None) -> str | None:
    """The key for a service: FUNNEL_CLIENT_KEY, or a full key of the settings if they are those of this service.

    It is sent nowhere else.
    """
    from app.access_keys import keys_of
    from app.settings import load_settings, variables

    if named := variables().get(VARIABLE, "").strip():
        return named
    return next(iter(keys_of(load_settings(), "api_key")), None) if url in (None, own_url()) else None


def must_exist(data_dir: Path) -> None:
    """Raise StoreFormat unless the directory holds an index."""
    from index.store import Store

    if not data_dir.is_dir() or Store.stored_space(data_dir) is None:
        raise StoreFormat(f"there is no index in {data_dir}")


@contextmanager
def unlocked(hint: str) -> Iterator[None]:
    """Say what to do when the directory turns out to be open elsewhere."""
    try:
        yield
    except StoreLocked as error:
        raise StoreLocked(f"{error}; {hint}") from None

"""When the client sends a request again: the errors after which that does no harm and may help."""

from collections.abc import Callable

import httpx

from app.client_errors import ClientError, ProblemError

BUSY = (429, 503)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
BROKEN = (*NOT_SENT, httpx.NetworkError, httpx.RemoteProtocolError)

Again = Callable[[ClientError], bool]


def repeatable(error: ClientError) -> bool:
    """For requests that may happen twice. A silent service has been given its time and is not asked again."""
    return _busy(error) or isinstance(error.__cause__, BROKEN)


def resumable(error: ClientError) -> bool:
    """For an ingest that may happen twice: also after a silence, since what is stored is not embedded again."""
    return repeatable(error) or isinstance(error.__cause__, httpx.ReadTimeout)


def once(error: ClientError) -> bool:
    """For an ingest whose second run would refuse what the first has stored: only if that was nothing."""
    return (_busy(error) and not _stored(error)) or isinstance(error.__cause__, NOT_SENT)


def _busy(error: ClientError) -> bool:
    return isinstance(error, ProblemError) and error.status in BUSY


def _stored(error: ClientError) -> bool:
    """Whether the summary of an ingest counts new documents beside its problem."""
    return isinstance(error, ProblemError) and any(error.members.get(kind) for kind in ("created", "updated"))

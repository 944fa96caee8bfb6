"""Files that nothing needs any more. What cannot be removed now goes at the next start."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


def remove(paths: Iterable[Path]) -> None:
    """Remove these; never raises, for what they were left by is done, or has failed already."""
    with _noted():
        for path in paths:
            with _noted():  # one that stays keeps no other
                path.unlink(missing_ok=True)


@contextmanager
def _noted() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.warning("a file that nothing needs stays until the next start: %s", error)

"""Files that nothing needs any more. What cannot be removed now goes at the next start."""

import logging
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)


def remove(paths: Iterable[Path]) -> None:
    """Remove these; never raises, for what they were left by is done, or has failed already."""
    try:
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a file that nothing needs stays until the next start: %s", error)

"""A record: a JSON object that we wrote."""

import json
from typing import Any

from index.errors import StoreCorrupt


def read_record(text: str, what: str) -> dict[str, Any]:
    """The object; StoreCorrupt, saying `what` it was to be, when it is none."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreCorrupt(f"{what} cannot be read: {error}") from None
    if not isinstance(record, dict):
        raise StoreCorrupt(f"{what} cannot be read: it is no object but {type(record).__name__}")
    return record

"""The body of a request for a compaction."""

from app.requests import Body


class CompactRequest(Body):
    """Nothing to say: an empty object, or no body at all."""

"""The body that asks for a snapshot."""

from pydantic import Field

from app.requests import Body
from index.snapshots import NAME


class SnapshotRequest(Body):
    """A name for it, or none."""

    name: str | None = Field(
        None, pattern=f"^{NAME}$", description="1 to 64 of a-z, 0-9 and -; the time and a counter if there is none."
    )

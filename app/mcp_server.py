"""The service as tools of the Model Context Protocol, for assistants that speak it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from app.client import Client, ClientError

SHOWN = 1_000  # characters of a result's text, unless more are asked for
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
INSTRUCTIONS = (
    "Search documents by meaning, read them, and store new ones. `search` shows the begin of each text; `get` all."
)


class Document(BaseModel):
    """One that is stored; what has the same id is replaced."""

    id: str = Field(description="Of 1 to 512 bytes.")
    text: str
    title: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="What filters can ask for.")


Limit = Annotated[int, Field(ge=1, le=100, description="The number of results.")]
Filter = Annotated[
    dict[str, Any] | None,
    Field(
        description='Conditions on metadata, such as {"section": "perl", "size": {"$gte": 100}}: '
        "$eq $ne $in $nin $gt $gte $lt $lte $exists $contains $and $or $not."
    ),
]
Characters = Annotated[int, Field(ge=0, description="How much of each text is shown.")]


class Tools:
    """What an assistant can ask for; a refusal of the service is told with what to change."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def search(
        self, query: str, limit: Limit = 10, filter: Filter = None, characters: Characters = SHOWN
    ) -> dict[str, Any]:
        """The documents whose meaning is closest to a text, the best first; a score of 1 is the very same."""
        with _told():
            hits = self._client.search(query, limit=limit, filter=filter)["results"]
        return {"results": [{**hit, "text": hit["text"][:characters]} for hit in hits]}

    def get(self, id: str) -> dict[str, Any]:
        """One whole document."""
        with _told():
            return self._client.get(id)

    def ingest(self, documents: list[Document]) -> dict[str, Any]:
        """Store documents: how many are stored, and why others are not. They can be found at once."""
        with _told():
            totals = self._client.ingest(one.model_dump(exclude_none=True) for one in documents)
        return {"stored": totals.stored, "refused": [{"id": f.id, "why": f.detail} for f in totals.failures]}


def mcp_server(client: Client, read_only: bool = False) -> MCPServer[Any]:
    """A server with these tools, without `ingest` if it is `read_only`."""
    server: MCPServer[Any] = MCPServer("funnel-search", instructions=INSTRUCTIONS, log_level="WARNING")
    tools = Tools(client)
    for tool in (tools.search, tools.get):
        server.tool(annotations=READS)(tool)
    if not read_only:
        server.tool(annotations=WRITES)(tools.ingest)
    return server


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise ToolError(str(error)) from error

"""The command `funnel mcp`: the service as tools for an assistant."""

from typing import Annotated

import typer

from app.cli_options import DataDir, Url


def mcp(
    url: Url = None,
    data_dir: DataDir = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer search and get, but not ingest.")] = False,
) -> None:
    """Offer search, get and ingest to an assistant that speaks MCP, over standard input and output.

    The assistant starts this command itself; its settings name it, here as most of them write it:

    [bold]{"mcpServers": {"funnel": {"command": "funnel", "args": ["mcp", "--url", "http://127.0.0.1:8000"]}}}[/bold]

    It needs the extra: [bold]pip install 'funnel-search\\[mcp]'[/bold].

    [bold]funnel mcp --url http://127.0.0.1:8000[/bold]
    [bold]funnel mcp --data-dir ./data --read-only[/bold]
    """
    from importlib.util import find_spec

    from app.cli_connect import connect

    if find_spec("mcp") is None:
        raise typer.BadParameter("the package mcp is missing: pip install 'funnel-search[mcp]'")
    from app.mcp_server import mcp_server

    with connect(url, data_dir) as client:
        mcp_server(client, read_only).run("stdio")

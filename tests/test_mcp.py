"""`funnel mcp`, spoken to by the client of the official SDK over standard input and output."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from cli_runner import Run, runner, serving

pytest.importorskip("mcp", reason="mcp is missing: pip install 'funnel-search[integrations]'")

from mcp import Client, StdioServerParameters

from app.client import Client as FunnelClient
from app.mcp_server import mcp_server


async def talk(client: Client) -> None:
    """What an assistant does."""
    offered = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert offered.keys() == {"search", "get", "ingest"}
    assert offered["search"].annotations.read_only_hint
    texts = {"strptime": "parse a date from text", "sorted": "sort a list", "long": "word " * 900, "bad": ""}
    documents = [{"id": one, "text": text, "metadata": {"size": len(text)}} for one, text in texts.items()]
    stored = (await client.call_tool("ingest", {"documents": documents})).structured_content
    assert stored["stored"] == 3
    assert [refused["id"] for refused in stored["refused"]] == ["bad"]
    (hit,) = await found(client, query="parse a date", limit=1)
    assert hit["id"] == "strptime"
    (long,) = await found(client, query="word", filter={"size": {"$gt": 1_000}}, characters=20)
    assert long["text"] == "word " * 4
    assert (await client.call_tool("get", {"id": "long"})).structured_content["text"] == "word " * 900
    for tool, asked, said in (
        ("get", {"id": "nowhere"}, "404"),
        ("search", {"query": "x", "filter": {"size": {"$near": 1}}}, "near"),
        ("search", {"query": "x", "limit": 0}, "limit"),
    ):
        refused = await client.call_tool(tool, asked)
        assert refused.is_error
        assert said in refused.content[0].text


async def found(client: Client, **asked: Any) -> list[dict[str, Any]]:
    """The results of a search."""
    answer = await client.call_tool("search", asked)
    assert not answer.is_error, answer
    return answer.structured_content["results"]


def command(*options: str) -> StdioServerParameters:
    """`funnel mcp` in this environment."""
    root = str(Path(__file__).parent.parent)
    return StdioServerParameters(
        command=sys.executable, args=["-m", "app.cli", "mcp", *options], cwd=root, env={"PYTHONWARNINGS": "ignore"}
    )


def test_the_tools(tmp_path: Path) -> None:
    """An assistant finds them, stores, searches, reads, and is told what it did wrong."""

    async def work(url: str) -> None:
        with FunnelClient(url) as client:
            async with Client(mcp_server(client)) as assistant:
                await talk(assistant)

    with serving(tmp_path / "data") as url:
        asyncio.run(work(url))


@pytest.mark.long
def test_over_standard_input_and_output(tmp_path: Path) -> None:
    """The same with the command that an assistant starts."""

    async def work(url: str) -> None:
        async with Client(command("--url", url)) as client:
            await talk(client)
        async with Client(command("--url", url, "--read-only")) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "get"}

    with serving(tmp_path / "data") as url:
        asyncio.run(work(url))


def test_help_says_how_an_assistant_starts_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the lines for its settings."""
    funnel: Run = runner(monkeypatch, capsys, tmp_path)
    assert "mcpServers" in funnel("mcp", "--help").out

"""docs/integrations.md: the blocks of each library that is installed do what they say."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from cli_runner import serving
from python_pages import ROOT, blocks, run

NEEDED = {
    "OpenAI": "openai",
    "LangChain": "langchain_core",
    "LlamaIndex": "llama_index",
    "MCP": "mcp",
    "MTEB and BEIR": "mteb",
}
HEAVY = ("LangChain", "LlamaIndex", "MTEB and BEIR")
HEADINGS = [pytest.param(name, marks=pytest.mark.long if name in HEAVY else ()) for name in NEEDED]


@pytest.mark.filterwarnings("default")  # of theirs
@pytest.mark.parametrize("heading", HEADINGS)
def test_the_page(heading: str, tmp_path: Path) -> None:
    """Each part by itself."""
    if find_spec(NEEDED[heading]) is None:
        pytest.skip(f"{NEEDED[heading]} is missing: pip install 'funnel-search[integrations]'")
    with serving(tmp_path / "data") as url:
        run(blocks("docs/integrations.md", heading), url)


def test_every_part_is_known() -> None:
    """No heading of the page is left out here."""
    lines = (ROOT / "docs/integrations.md").read_text("utf-8").splitlines()
    assert {line[3:] for line in lines if line.startswith("## ")} == NEEDED.keys()

"""Runs the Python blocks of a page, one after the other, and holds them to what their comments say they print."""

import gc
import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

ROOT = Path(__file__).parent.parent
PRINTED = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


def blocks(page: str, heading: str = "") -> list[str]:
    """The Python blocks of a page, or of its part below `## heading`."""
    text = (ROOT / page).read_text("utf-8")
    if heading:
        text = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]
    found = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no Python block {heading}"
    return found


def run(sources: list[str], url: str) -> None:
    """Run blocks in one namespace, with the service at this address instead of the usual one."""
    names: dict[str, Any] = {"__name__": "page"}
    for source in sources:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(source.replace("http://127.0.0.1:8000", url), "page", "exec"), names)
        assert out.getvalue().splitlines() == PRINTED.findall(source), source
    names.clear()
    with catch_warnings():
        simplefilter("ignore", ResourceWarning)  # a page leaves clients open
        gc.collect()

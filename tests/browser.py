"""A real browser for tests of the page: Debian's chromium, driven by Playwright, with the page's policy in force."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from cli_runner import at_work
from embedders import HashEmbedder
from service import settings_for

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = Path(__file__).parent.parent / "node_modules" / "axe-core" / "axe.min.js"
EXPECTED = "Failed to load resource"  # what a browser says about an answer that is an error

Open = Callable[..., Any]


def browser_path() -> str:
    """The browser of TEST_BROWSER, or one of the PATH; else the test is skipped, with the reason."""
    found = os.environ.get("TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed, and TEST_BROWSER names none")
    return found


def axe_source() -> str:
    """axe-core, from TEST_AXE or node_modules; else the test is skipped, with the reason."""
    path = Path(os.environ.get("TEST_AXE") or AXE)
    if not path.is_file():
        pytest.skip(f"no axe-core: {path} is not there; npm install axe-core, or name axe.min.js in TEST_AXE")
    return path.read_text("utf-8")


@contextmanager
def launched() -> Iterator[Any]:
    """A running browser."""
    sync = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: the extra `browser` has it")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def pages(browser: Any) -> Iterator[Open]:
    """Opens pages in a profile of their own; at the end none of them may have raised or broken the policy."""
    contexts, said = [], []

    def opened(url: str, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [line for line in said if not line.startswith(EXPECTED)] == []


@contextmanager
def served(folder: Path, **values: Any) -> Iterator[str]:
    """The address of a service over a real socket."""
    embedder = None if values.get("model") == "none" else HashEmbedder()
    with at_work(create_app(settings_for(folder, **values), embedder)) as url:
        yield url


def violations(page: Any, axe: str) -> list[str]:
    """What axe-core finds wrong: rule, and the first element."""
    page.evaluate(axe)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", tags)["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]} {one['nodes'][0]['failureSummary'][:300]}" for one in found]

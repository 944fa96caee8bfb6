#!/usr/bin/env python3
"""Take the pictures of the page for docs/page.md: a running service with documents, and an empty one, in a browser.

funnel serve --data-dir full --port 8001 & funnel serve --data-dir empty --port 8002 &
./scripts/screenshots.py http://127.0.0.1:8001 http://127.0.0.1:8002 --query "play music files" --file notes.jsonl
"""

import argparse
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "screenshots"
DESK, TALL, PHONE = (1280, 940), (1280, 1500), (390, 844)
COLOURS = 128  # of a picture: it has few, and takes a third of the bytes


def main() -> None:
    """Take all of them."""
    options = parsed()
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        opened(browser, f"{options.full}/#q={quote(options.query)}", DESK, "light")  # the first question loads much
        for name, (fragment, size, scheme) in states(quote(options.query)).items():
            page = opened(browser, f"{options.full}/#{fragment}", size, scheme)
            if name == "funnel-phone":
                page.get_by_role("button", name="See the funnel").click()
            taken(page, name)
        page = opened(browser, f"{options.full}/#q={quote(options.query)}", DESK, "light")
        page.locator("#results .open").first.click()
        page.locator("#document[open]").wait_for()
        taken(page, "document")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="API key").click()
        taken(page, "key")
        taken(opened(browser, options.empty, DESK, "light"), "empty")
        page = opened(browser, f"{options.empty}/#view=add", DESK, "light")
        page.locator("#file").set_input_files(options.file)
        page.locator("#files", has_text="safely on disk: ").wait_for(timeout=120_000)
        taken(page, "add")
        browser.close()


def states(query: str) -> dict[str, tuple[str, tuple[int, int], str]]:
    """Fragment of the address, size of the screen, colours."""
    narrow = f"q={query}&mode=shortlist&shortlist=20"
    return {
        "search": (narrow, TALL, "light"),
        "stages-dark": (f"q={query}&mode=stages&stages=64x500,256x50", TALL, "dark"),
        "target": (f"q={query}&mode=target&target=0.9", DESK, "light"),
        "error": (f"q={query}&mode=shortlist&shortlist=2", DESK, "light"),
        "phone": (narrow, PHONE, "light"),
        "funnel-phone": (narrow, PHONE, "dark"),
        "documents": ("view=documents", DESK, "light"),
        "status": ("view=status", DESK, "light"),
        "status-phone": ("view=status", PHONE, "dark"),
    }


def opened(browser: Any, url: str, size: tuple[int, int], scheme: str) -> Page:
    """A page that has come to rest."""
    viewport = {"width": size[0], "height": size[1]}
    page: Page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    return page


def taken(page: Page, name: str) -> None:
    """A small PNG of what is seen."""
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", help="address of a service with documents")
    parser.add_argument("empty", help="address of one without; the file is stored there")
    parser.add_argument("--query", required=True, help="what is searched for")
    parser.add_argument("--file", required=True, help="a file to drop")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Runs the shell blocks of a page, with a service at another address and a small model."""

import re
import subprocess
import sys
from pathlib import Path

from test_scripts import clean_environment, executable

ROOT = Path(__file__).parent.parent

# `funnel` as in .venv/bin, with a small model.
FUNNEL = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import app.embedder
from embedders import HashEmbedder
app.embedder.load_embedder = lambda *_: HashEmbedder()
from app.cli import main
main()
"""
# Every answer has to have the status 200.
CURL = """
curl() {
  if [ "$(command curl -o answer -w '%{http_code}' "$@")" != 200 ]; then cat answer; return 1; fi
}
"""


def commands(page: str) -> list[str]:
    """The commands of all shell blocks of a page, each with the lines that belong to it."""
    found: list[str] = []
    for block in re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith(" ") or (found and found[-1].endswith("\\")):
                found[-1] += "\n" + line
            elif not line.startswith("#"):
                found.append(line)
    return found


def without_variables(command: str) -> str:
    return re.sub(r"^([A-Z_]+=\S+ )*", "", command)


def made(folder: Path) -> Path:
    """A folder where ./scripts/start has been, as far as the commands can tell."""
    executable(folder / ".venv/bin/funnel", FUNNEL)
    executable(folder / ".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "scripts").symlink_to(ROOT / "scripts")
    return folder


def bash(folder: Path, url: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """What the lines do in a folder, with the service at this address instead of the usual one."""
    host, port = url.removeprefix("http://").split(":")
    script = CURL + "\n".join(lines).replace("127.0.0.1:8000", f"{host}:{port}")
    environment = clean_environment(FUNNEL_PORT=port, COLUMNS="200")
    return subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )

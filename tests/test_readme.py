"""README.md: what it tells to type works when it is typed in its order."""

import re
import shlex
from pathlib import Path

import pytest

from app.client import Client
from cli_runner import serving
from service import running
from shell_pages import ROOT, bash, commands, made, without_variables

# Not run here: the first words of a command (after its variables), and why.
ELSEWHERE = {
    "./scripts/start": "tests/test_scripts.py starts it",
    "./scripts/test": "it is what runs this test",
    "docker compose up": "it needs a Docker daemon",
    "docker compose exec": "it needs a Docker daemon; what it runs in the container is run below",
    "docker compose run": "it needs a Docker daemon",
    ".venv/bin/funnel adapt": "it needs a thousand documents; tests/test_cli_adapt.py runs it",
    ".venv/bin/funnel evaluate": "it needs a collection; tests/test_cli_evaluate.py runs it",
    ".venv/bin/funnel restore": "its name is that of a snapshot; tests/test_snapshots_api.py restores one",
    ".venv/bin/funnel serve --host": "it listens to other machines; tests/test_access_cli.py runs it",
    '.venv/bin/funnel search "parse a date" --url': "it needs another machine; tests/test_access_cli.py sends the key",
    ".venv/bin/funnel recall": "it needs hundreds of documents; tests/test_cli_recall.py runs it",
    ".venv/bin/funnel train": "it needs a base and pairs; tests/test_train_cli.py runs it",
}
RUN = ("curl ", "echo ", ".venv/bin/funnel ")
NEED_NO_SERVICE = (".venv/bin/funnel verify", ".venv/bin/funnel repair", ".venv/bin/funnel reindex")

COMMANDS = commands("README.md")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_known(command: str) -> None:
    """It is run by the tests below, or listed with the reason why not; a script that it names can be run."""
    typed = without_variables(command)
    assert typed.startswith(RUN) or any(typed.startswith(first) for first in ELSEWHERE)
    if typed.startswith("./"):
        script = ROOT / shlex.split(typed)[0]
        assert script.stat().st_mode & 0o111


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path)


def test_commands(folder: Path) -> None:
    """curl and funnel do what is said, one after the other: first with the service, then without it."""
    here = [command for command in COMMANDS if command.startswith(RUN) and not command.startswith(tuple(ELSEWHERE))]
    said = {}
    with serving(folder / "data") as url:
        for command in (c for c in here if not c.startswith(NEED_NO_SERVICE)):
            done = bash(folder, url, command)
            assert done.returncode == 0, f"{command}\n{done}"
            said[command] = done.stdout
        (search,) = (command for command in said if command.startswith(".venv/bin/funnel search"))
        assert "signing key in March" in said[search]
        with Client(url) as client:
            assert client.count() == 3
    for command in (c for c in here if c.startswith(NEED_NO_SERVICE)):
        done = bash(folder, url, command)
        assert done.returncode == 0, f"{command}\n{done}"


def test_the_container_gets_the_demo_corpus(folder: Path) -> None:
    """The line for the container works on the files of the image, here with fewer documents."""
    (line,) = (command for command in COMMANDS if command.startswith("docker compose exec"))
    *_, inside = shlex.split(line, comments=True)
    assert inside.count("demo_corpus.py") == 1
    few = inside.replace("demo_corpus.py", "demo_corpus.py --limit 20")
    with serving(folder / "data") as url:
        done = bash(folder, url, 'PATH="$PWD/.venv/bin:$PATH"', few)
        assert done.returncode == 0, done
        with Client(url) as client:
            assert client.count() == 20
    assert "COPY scripts/demo_corpus.py scripts/" in (ROOT / "Dockerfile").read_text("utf-8")
    assert "!scripts/demo_corpus.py" in (ROOT / ".dockerignore").read_text("utf-8")


def test_other_models(tmp_path: Path) -> None:
    """Each has a directory of its own, and the one without a model has a shortlist."""
    lines = [command for command in COMMANDS if command.startswith("FUNNEL_") and "_MODEL=" in command]
    chosen = [dict(re.findall(r"FUNNEL_([A-Z_]+)=(\S+)", line)) for line in lines]
    assert len({values["DATA_DIR"] for values in chosen} | {"data"}) == len(chosen) + 1
    (own,) = (values for values in chosen if values["MODEL"] == "none")
    del own["DATA_DIR"]
    values = {name.lower(): value for name, value in own.items()}
    with running(tmp_path, **values) as client:
        assert client.get("/info").json()["exact_only"] is False

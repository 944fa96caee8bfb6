"""The pages of the site: commands do what they say, links lead somewhere, the generated ones are up to date."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import reference

from app.client import Client
from cli_runner import serving
from python_pages import blocks
from python_pages import run as run_python
from shell_pages import ROOT, bash, commands, made, without_variables

# Run by test_commands, from top to bottom, with a service that has a few hundred documents.
RUN = ("tutorial.md", "tune-recall.md", "back-up.md")
# Not run here: the first words of a command (after its variables), and why.
ELSEWHERE = {
    "./scripts/start": "tests/test_scripts.py starts it; tests/test_readme.py reads its variables",
    "funnel evaluate": "it needs a collection; tests/test_cli_evaluate.py runs it",
    "funnel reindex": "it needs another model; tests/test_cli.py runs it",
    "funnel recall --queries": "it needs questions; tests/test_cli_recall.py runs it",
    "funnel serve": "it serves until Ctrl-C; tests/test_access_cli.py runs it",
    'funnel search "parse a date" --url': "it needs another machine; tests/test_access_cli.py sends the key",
    "funnel verify --data-dir data": "the service has the directory; tests/test_readme.py runs it",
    "funnel repair": "the service has the directory; tests/test_readme.py runs it",
    "funnel compact": "tests/test_readme.py runs it",
    "funnel adapt": "it needs a thousand documents; tests/test_cli_adapt.py runs it",
    "funnel ingest vectors.parquet": "it needs such a file; tests/test_client_arrow.py runs it",
    "funnel import": "it needs an index of another system; tests/test_cli_import.py runs it",
}
PAGES = [*RUN, "switch-model.md", "secure.md", "scale-up.md", "migrate.md"]
ALSO = ("funnel key", "chmod 600 api-key", "funnel stats", "funnel recall")  # run below, or with another page
FOREIGN = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")


def here(page: str) -> list[str]:
    """The commands of a page that are run in this file."""
    return [typed for typed in commands(f"docs/{page}") if not without_variables(typed).startswith(tuple(ELSEWHERE))]


@pytest.mark.parametrize("page", reference.PAGES)
def test_generated_pages_are_up_to_date(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """docs/ says what the program says."""
    monkeypatch.chdir(tmp_path)
    assert (ROOT / "docs" / page).read_text("utf-8") == reference.PAGES[page](), "python scripts/reference.py"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_known(page: str) -> None:
    """It is run below, or listed with the reason why not."""
    unknown = [] if page in RUN else [typed for typed in here(page) if not typed.startswith(ALSO)]
    assert unknown == []


def test_tutorial_in_python(tmp_path: Path) -> None:
    """Its Python block prints what it says."""
    with serving(tmp_path / "data") as url:
        run_python(blocks("docs/tutorial.md"), url)


@pytest.mark.long
@pytest.mark.parametrize("page", RUN)
def test_commands(page: str, tmp_path: Path) -> None:
    """Typed one after the other, each of them works."""
    documents = ({"id": f"d{n}", "text": f"function {n} of module {n % 7} parses text {n * n}"} for n in range(600))
    folder = made(tmp_path)
    with serving(folder / "data") as url:
        with Client(url) as client:
            client.ingest(documents)
        for command in here(page):
            done = bash(folder, url, 'PATH="$PWD/.venv/bin:$PATH"', command)
            assert done.returncode == 0, f"{command}\n{done}"
            if "rotate the signing key" in command:
                assert "n1" in done.stdout


@pytest.mark.long
def test_a_key_for_other_machines(tmp_path: Path) -> None:
    """The commands that make one leave a file that a service takes."""
    done = bash(made(tmp_path), "http://none:0", 'PATH="$PWD/.venv/bin:$PATH"', *here("secure.md"))
    assert done.returncode == 0, done
    assert (tmp_path / "api-key").stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "api-key").read_text().strip()) == 43


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is missing: pip install 'funnel-search[docs]'")
def test_the_site(tmp_path: Path) -> None:
    """Every page is in the navigation, every link and anchor leads somewhere, and nothing comes from another site."""
    site = tmp_path / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    foreign = {found for page in pages for found in FOREIGN.findall(page.read_text("utf-8"))}
    assert foreign == set()

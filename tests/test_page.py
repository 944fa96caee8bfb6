"""The page at /: what is served, that it keeps to its policy, and that no text can become markup."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.access_headers import PAGE
from service import assert_problem, running

FOLDER = Path(__file__).parent.parent / "app" / "static" / "page"
SCRIPTS = sorted(FOLDER.glob("*.js"))
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MARKUP = (
    r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|createContextualFragment"
    r"|setHTML|srcdoc|\beval\(|new Function"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service without a document."""
    with running(tmp_path_factory.mktemp("page")) as client:
        yield client


def test_the_page_is_served_under_the_policy_of_pages(client: TestClient) -> None:
    """Nothing inline, and nothing from elsewhere."""
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == PAGE
    assert not re.search(
        r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:|//", answer.text.partition("<html")[2]
    )
    for link in re.findall(r'(?:src|href)="(page/[^"]+)"', answer.text):
        assert client.get(f"/{link}").status_code == 200, link


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_file_is_used_and_has_its_kind(client: TestClient, path: Path) -> None:
    """A module is imported by another one or by the page, which names the rest."""
    if path.suffix == ".html":
        return
    assert client.get(f"/page/{path.name}").headers["content-type"].startswith(KINDS[path.suffix])
    others = "".join(other.read_text("utf-8") for other in FOLDER.iterdir() if other != path)
    assert f"/{path.name}" in others


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_module_makes_no_markup_of_texts(script: Path) -> None:
    """Its imports are there and export what is asked for; texts become text nodes; nothing comes from another site."""
    text = script.read_text("utf-8")
    assert not re.search(MARKUP, text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert text.count("\n") <= 150
    for names, module in re.findall(r"import \{([^}]+)\} from \"\./([a-z]+\.js)\"", text):
        given = (FOLDER / module).read_text("utf-8")
        for name in re.split(r",\s*", names.strip().strip(",")):
            exported = name.split(" as ")[0]
            assert re.search(
                rf"export (const|(async )?function\*?|class) {exported}\b|export async function\* {exported}\b", given
            ), name


def test_files_beside_the_page_cannot_be_read(client: TestClient) -> None:
    """The folder has no way out."""
    for path in ("/page/../../main.py", "/page/%2e%2e/%2e%2e/main.py", "/page/nothing.js", "/page/", "/page"):
        assert_problem(client.get(path), 404, "not-found")

"""scripts/first_steps.py: what scripts/start does once the service is ready."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import first_steps
import pytest

from app.client import Client
from app.main import create_app
from app.settings import Settings
from cli_runner import at_work, serving

DEMO = [{"id": f"demo{number}", "text": f"docstring {number}"} for number in range(30)]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A service with a small model, and a demo corpus of 30 documents."""
    monkeypatch.setattr(first_steps, "demo", lambda: DEMO)
    with serving(tmp_path / "data") as address:
        yield address


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "data" / "demo-corpus"


def test_an_empty_service_is_filled_once(url: str, mark: Path) -> None:
    """The demo corpus is stored and marked as complete; what is deleted later does not come back."""
    with Client(url) as client:
        first_steps.fill(client, mark)
        assert (client.count(), mark.read_text()) == (30, "complete\n")
        client.delete([document["id"] for document in DEMO])
        first_steps.fill(client, mark)
        assert client.count() == 0


def test_documents_of_the_user_keep_the_demo_away(url: str, mark: Path) -> None:
    """A service that holds anything gets no demo."""
    with Client(url) as client:
        client.ingest([{"id": "mine", "text": "my own"}])
        first_steps.fill(client, mark)
        assert client.count() == 1
    assert not mark.exists()


@pytest.mark.parametrize("own", [[], [{"id": "mine", "text": "my own"}]])
def test_a_demo_that_was_stopped(url: str, mark: Path, own: list[dict[str, str]]) -> None:
    """It goes on at the next start, unless documents of the user's own came in between."""
    mark.write_text("started\n")
    with Client(url) as client:
        client.ingest([*DEMO[:10], *own])
        first_steps.fill(client, mark)
        assert client.count() == (11 if own else 30)
        assert mark.exists() == (not own)
        first_steps.fill(client, mark)
        assert client.count() == (11 if own else 30)


def assert_examples_work(url: str) -> str:
    """Every example, run as it is printed, is answered with success; all of them as one text."""
    with Client(url) as client:
        shown = list(first_steps.examples(url, client.info()))
    for example in shown:
        command = example.replace("curl -s", "curl -sf").replace("python3", sys.executable)
        subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True, capture_output=True)
    return "\n".join(shown)


def test_examples(url: str) -> None:
    """With a model they are texts, one of them with a shortlist."""
    shown = assert_examples_work(url)
    assert "shortlist" in shown
    assert "vector" not in shown


@pytest.mark.parametrize("prefix_dim", ["auto", 4])
def test_examples_without_a_model(tmp_path: Path, prefix_dim: int | str, capsys: pytest.CaptureFixture[str]) -> None:
    """They bring a vector of the right width, and the notice of an exact-only index is shown."""
    settings = Settings(data_dir=tmp_path / "none", model="none", dim=8, prefix_dim=prefix_dim, _env_file=None)
    with at_work(create_app(settings)) as url:
        shown = assert_examples_work(url)
        with Client(url) as client:
            first_steps.show(url, client)
            notice = client.info()["notice"]
    assert "query" not in shown
    assert "shortlist" not in shown
    assert (notice is not None) == (prefix_dim == "auto")
    assert ("note: " in capsys.readouterr().err) == (notice is not None)


def test_an_exact_only_model_has_no_shortlist() -> None:
    """An index whose prefixes are not trained would refuse the example with one."""
    shown = "".join(first_steps.examples("http://localhost", {"model": {"name": "m"}, "exact_only": True}))
    assert "query" in shown
    assert "shortlist" not in shown

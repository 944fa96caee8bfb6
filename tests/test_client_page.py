"""docs/client.md: every block does what it says."""

from pathlib import Path

import pytest

import app.service
from cli_runner import serving
from embedders import HashEmbedder
from python_pages import blocks, run


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as a reader types them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app.service, "load_embedder", lambda *_: HashEmbedder())
    with serving(tmp_path / "data") as url:
        run(blocks("docs/client.md"), url)

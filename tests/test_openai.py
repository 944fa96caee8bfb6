"""POST /v1/embeddings, spoken by OpenAI's own client."""

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.client_app import InThread
from app.main import create_app
from app.settings import Settings
from embedders import DIM, HashEmbedder

openai = pytest.importorskip("openai", reason="openai is not installed: pip install 'funnel-search[integrations]'")
TEXTS = ["parse a date from text", "sort a list"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator["openai.OpenAI"]:
    app = create_app(Settings(data_dir=tmp_path / "data", _env_file=None), HashEmbedder())
    with httpx.Client(transport=InThread(app)) as http:
        yield openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none", http_client=http, max_retries=0)


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_vectors_are_those_of_queries(client: "openai.OpenAI", form: dict[str, str]) -> None:
    """The client asks for base64 by itself, and reads both forms."""
    answer = client.embeddings.create(model="any", input=TEXTS, **form)
    rows = [
        np.frombuffer(base64.b64decode(item.embedding), "<f4") if isinstance(item.embedding, str) else item.embedding
        for item in answer.data
    ]
    assert np.allclose(rows, HashEmbedder().embed_queries(TEXTS), atol=1e-6)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (8, 8)
    assert answer.model == "hash-words"


def test_dimensions_are_the_first_ones_normalised_again(client: "openai.OpenAI") -> None:
    """As OpenAI's own models cut them."""
    (item,) = client.embeddings.create(model="any", input=TEXTS[0], dimensions=8).data
    full = HashEmbedder().embed_queries(TEXTS[:1])[0][:8]
    assert np.allclose(item.embedding, full / np.linalg.norm(full), atol=1e-6)


def test_refusals_are_the_clients_own_errors(client: "openai.OpenAI") -> None:
    """With the status and what to change."""
    with pytest.raises(openai.UnprocessableEntityError, match=f"at most {DIM}, got 33"):
        client.embeddings.create(model="any", input="x", dimensions=33)
    with pytest.raises(openai.UnprocessableEntityError, match="input"):
        client.embeddings.create(model="any", input=[])

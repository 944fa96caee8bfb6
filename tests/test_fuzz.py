"""The HTTP fuzz of the quick suite with many more, and larger, examples: FUZZ_EXAMPLES each."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import test_documents_api as documents_api
import test_ingest_api as ingest_api
import test_search_api as search_api
from service import fill, running

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10_000"))
pytestmark = pytest.mark.long
many = settings(max_examples=EXAMPLES)


@pytest.fixture
def client(tmp_path_factory: pytest.TempPathFactory, record_property: Any) -> Iterator[TestClient]:
    """A service of its own for every test, and the number of examples among the results."""
    record_property("examples", EXAMPLES)
    with running(tmp_path_factory.mktemp("fuzz")) as made:
        fill(made)
        yield made


@many
@given(st.dictionaries(st.sampled_from(search_api.FIELDS), search_api.VALUES, max_size=8), st.booleans())
def test_searches(client: TestClient, body: dict[str, Any], question: bool) -> None:
    """Any body gets an answer of the documented shape, or a problem."""
    search_api.test_any_body_gets_a_clear_answer.hypothesis.inner_test(client, body, question)


@many
@given(st.lists(ingest_api.DOCUMENTS | st.binary(max_size=200), max_size=40), st.booleans())
def test_streams(client: TestClient, lines: list[Any], streamed: bool) -> None:
    """Any lines are counted, each once."""
    ingest_api.test_any_stream_gets_a_clear_answer.hypothesis.inner_test(client, lines, streamed)


@many
@given(st.binary(max_size=1_000) | ingest_api.DOCUMENTS.map(lambda d: ingest_api.ndjson({"documents": [d] * 3})))
def test_json_bodies(client: TestClient, body: bytes) -> None:
    """Any bytes get an answer or a problem."""
    ingest_api.test_any_json_body_gets_a_clear_answer.hypothesis.inner_test(client, body)


@many
@given(
    st.sampled_from(["POST delete", "POST count", "POST scroll", "PATCH some-id", "PATCH perl"]), documents_api.BODIES
)
def test_documents(client: TestClient, route: str, body: dict[str, Any]) -> None:
    """The other routes with a body answer or refuse as well."""
    documents_api.test_any_body_gets_a_clear_answer.hypothesis.inner_test(client, route, body)

"""Requests made from our own OpenAPI document by schemathesis, for every operation that it names.

A route that is added is taken in by itself. All of them work on one scratch directory, so that they meet what the
others left: documents, rotations, calibrations. FUZZ_EXAMPLES is the number of random requests an operation gets in
the long lane.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from requests import Request
from schemathesis.config import SchemathesisConfig
from starlette.testclient import TestClient

from app.body import ARROW, NDJSON
from app.main import create_app
from app.problems import MEDIA_TYPE, PROBLEMS
from embedders import HashEmbedder
from index.matryoshka import prefixes
from index.space import Space
from service import fill, running, settings_for

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1_000"))
REJECTED = ["400", "404", "405", "409", "413", "415", "422"]
SHAPE = {"malformed-json", "unsupported-media-type"}  # problems that a body of the right shape never has
NOT_TOLD = (  # what the document cannot say
    "/dimensions",  # at most those of the model
    "valid integer",  # 10.0, which is one for JSON Schema and not for us
    "no square",  # base64 of so many numbers
    "only with application/json",  # ?atomic
    "even without a body",  # a content type has to be sent where there is no key
)
STATUSES: Counter[int] = Counter()
quick = settings(max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))
many = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


class TwoNumbers(HashEmbedder):
    """Vectors of two numbers, so that vectors and matrices of the right size are drawn often enough."""

    def __init__(self) -> None:
        super().__init__()
        self.matryoshka_dims, self.space = (2, 1), Space(2, 1, {"model": "two numbers"})

    def embed_queries(self, texts: Any) -> np.ndarray:
        """(n, 2) float32 unit rows."""
        return prefixes(super().embed_queries(texts), 2)


def document() -> dict[str, Any]:
    """Our OpenAPI document without its catch-all response: only a status that a route names is documented."""
    made = create_app(settings_for(Path("unused"), model="none", dim=2)).openapi()
    for path in made["paths"].values():
        for operation in path.values():
            del operation["responses"]["default"]
    return made


CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503", "504", "507"]},
            "negative_data_rejection": {"expected-statuses": REJECTED},
            "positive_data_acceptance": {"enabled": False},  # `understood` is finer
            "allow_header_conformance": {"enabled": False},  # /documents/count is the address of a document, too
            "ignored_auth": {"enabled": False},  # tests/test_access*.py
        }
    }
)
schemathesis.serializer(NDJSON)(lambda context, line: line if isinstance(line, bytes) else json.dumps(line).encode())


@schemathesis.serializer(ARROW)
def record_batch(context: Any, drawn: Any) -> bytes:
    """A stream of one document, whose text is what was drawn: nearly no other bytes are one."""
    batch = pyarrow.record_batch({"id": ["arrow"], "text": [repr(drawn)]})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


api = schemathesis.openapi.from_dict(document(), config=CONFIG)


def understood(ctx: Any, response: Any, case: Any) -> None:
    """What the schema allows may be refused for what it means, never for its shape."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    problem = response.json()
    known = any(word in response.text for word in NOT_TOLD)
    assert known or problem["type"].removeprefix("/problems/") not in SHAPE, response.text
    assert known or not problem.get("errors"), response.text


def told(ctx: Any, response: Any, case: Any) -> None:
    """Every error is one of the problems that are explained at their address."""
    if response.status_code < 400:
        return
    problem = response.json()
    assert response.headers["content-type"] == [MEDIA_TYPE]
    known = PROBLEMS[problem["type"].removeprefix("/problems/")]
    assert (problem["status"], problem["title"]) == (response.status_code, known.title)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One service for all requests."""
    with running(tmp_path_factory.mktemp("schema"), TwoNumbers()) as made:
        fill(made)
        yield made


@pytest.fixture
def counted(record_property: Any) -> Iterator[None]:
    """Puts the number of requests, and of their answers, among the results."""
    STATUSES.clear()
    yield
    record_property("requests", STATUSES.total())
    record_property("answers", " ".join(f"{status}:{number}" for status, number in sorted(STATUSES.items())))


def send(client: TestClient, case: Any) -> Any:
    """The answer to a case, as it is written on the wire."""
    made = Request(**case.as_transport_kwargs(base_url=str(client.base_url))).prepare()
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in made.headers.items()]
    answer = client.request(made.method, made.url, headers=headers, content=made.body)
    STATUSES[answer.status_code] += 1
    return answer


def check(client: TestClient, case: Any) -> None:
    """Send a case and compare the answer with the document."""
    case.validate_response(send(client, case), additional_checks=[understood, told])


@api.parametrize()
@quick
def test_every_operation_keeps_its_schema(client: TestClient, case: Any) -> None:
    """Boundary values, examples and a few random requests: answers as documented, errors as problems."""
    check(client, case)


@pytest.mark.long
@pytest.mark.usefixtures("counted")
@api.parametrize()
@many
def test_thousands_of_requests(client: TestClient, case: Any) -> None:
    """The same with FUZZ_EXAMPLES random requests an operation."""
    check(client, case)

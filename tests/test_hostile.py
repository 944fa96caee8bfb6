"""Hostile, slow and broken clients against a real server: bounded memory and time, clear answers."""

from collections.abc import Callable, Iterator

import pytest
from harness import Server
from hostile_cases import CASES
from hostile_target import SETTINGS, Figures, Target, healthy

SCALE = 0.02  # of the sizes that scripts/hostile_test.py has


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server with short patience."""
    folder = tmp_path_factory.mktemp("hostile")
    server = Server({**SETTINGS, "FUNNEL_DATA_DIR": str(folder / "data")}, folder / "server.log")
    try:
        server.wait()
        yield Target(server, SCALE)
    finally:
        server.end()
    assert "Traceback" not in (folder / "server.log").read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_a_client_may_do(target: Target, case: Callable[[Target], Figures]) -> None:
    """It is answered as the case says, and the server goes on."""
    case(target)
    healthy(target)

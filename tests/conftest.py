"""What several test files ask for by name."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Threads of products sleep while they wait for each other, here and in what tests start: beside other work they would
# spin on the core that those they wait for need. Both are read when torch, FAISS or numpy is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 ticks, the least

# Examples take as long as the machine needs, and fixtures are made for all of them.
settings.register_profile(
    "any speed",
    settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any speed")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small products on several threads wait for each other when the machine is busy."""
    import torch  # only here: most tests never load it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that serves sets up the log of a server: it must not go on among the dots of the others."""
    loggers = [logging.getLogger(name) for name in ("app", "index", "uvicorn")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that serves in this process takes no cores from the tests after it."""
    monkeypatch.setattr("app.serving._multiply_on_one_core", lambda: None)

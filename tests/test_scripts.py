"""What a person types first: scripts/install, start, test, check."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)

# A Python that runs everything but pip, whose arguments it writes down.
FAKE_PYTHON = """#!/usr/bin/env bash
if [ "${{1-}}" = -m ]; then echo "$*" >>{log}; exit 0; fi
exec {python} "$@"
"""


def clean_environment(**more: str) -> dict[str, str]:
    left_out = ("FUNNEL_", "PORT", "PYTHON", "TORCH_INDEX_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | more


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The repository with an environment that counts as installed and runs this interpreter."""
    for name in ("app", "index", "scripts", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "scripts").unlink()
    for script in SCRIPTS:
        executable(tmp_path / "scripts" / script.name, script.read_text("utf-8"))
    for name in ("demo_corpus.py", "first_steps.py"):
        (tmp_path / "scripts" / name).symlink_to(ROOT / "scripts" / name)
    executable(tmp_path / ".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    executable(tmp_path / ".venv/bin/funnel", f'#!/bin/sh\nexec {sys.executable} -m app.cli "$@"\n')
    (tmp_path / ".venv/installed-base").write_bytes(inputs())
    return tmp_path


def inputs() -> bytes:
    return (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help(script: Path) -> None:
    """Every script is executable, and tells what it does without doing it."""
    shown = run(script, "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"Usage: scripts/{script.name}")
    assert "set -eu" not in shown.stdout


def test_install_runs_once(project: Path) -> None:
    """Nothing happens while pyproject.toml and constraints.txt are as they were."""
    done = run(project / "scripts/install")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_install_after_a_change(project: Path) -> None:
    """Other pins are installed, torch first, and remembered."""
    log = project / "pip.log"
    executable(project / ".venv/bin/python", FAKE_PYTHON.format(log=log, python=sys.executable))
    (project / ".venv/installed-base").write_text("something else")
    done = run(project / "scripts/install", "dev", TORCH_INDEX_URL="")
    assert done.returncode == 0, done.stderr
    assert "from pip's own index (TORCH_INDEX_URL is empty)" in done.stderr
    calls = log.read_text("utf-8").splitlines()
    assert [call.split("constraints.txt ")[1] for call in calls if " install " in call] == ["torch", "-e .[dev]"]
    assert (project / ".venv/installed-base").read_bytes() == inputs()
    assert (project / ".venv/installed-dev").read_bytes() == inputs()


def test_half_made_environment(project: Path) -> None:
    """A .venv that was left without pip, by Ctrl-C for example, is made again."""
    (project / ".venv/installed-base").unlink()
    executable(project / ".venv/bin/python", f'#!/bin/sh\n[ "$2" = pip ] && exit 1\nexec {sys.executable} "$@"\n')
    whole = executable(project / "whole", FAKE_PYTHON.format(log=project / "pip.log", python=sys.executable))
    make = f'[ "${{2-}}" = venv ] && mkdir -p .venv/bin && cp {whole} .venv/bin/python && exit\nexec {whole} "$@"\n'
    done = run(project / "scripts/install", PYTHON=str(executable(project / "maker", "#!/bin/bash\n" + make)))
    assert done.returncode == 0, done.stderr
    assert ".venv has no pip: making it again" in done.stderr
    assert (project / ".venv/installed-base").read_bytes() == inputs()


@pytest.fixture
def package_index() -> Iterator[str]:
    """An address that answers."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_torch_from_an_index_that_answers(project: Path, package_index: str) -> None:
    """The index of torch's CPU builds is used when it answers, for torch alone."""
    log = project / "pip.log"
    executable(project / ".venv/bin/python", FAKE_PYTHON.format(log=log, python=sys.executable))
    (project / ".venv/installed-base").unlink()
    done = run(project / "scripts/install", TORCH_INDEX_URL=package_index, no_proxy="*")
    assert f"torch: from {package_index}" in done.stderr
    first, second = [call for call in log.read_text("utf-8").splitlines() if " install " in call]
    assert first.endswith(f"--no-deps --index-url {package_index} torch")
    assert "--index-url" not in second


def test_old_python(project: Path) -> None:
    """A Python that is too old is refused with both versions."""
    old = executable(project / "old", '#!/bin/sh\ncase "$2" in *"%d"*) echo 3.9.18 ;; *) exit 1 ;; esac\n')
    (project / ".venv").rename(project / "unused")
    done = run(project / "scripts/install", PYTHON=str(old))
    assert done.returncode == 1
    assert f"Python 3.11 or newer is needed; {old} is 3.9.18." in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str | urllib.request.Request) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Run scripts/start until it is ready; what is left of it is killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(**environment: str) -> tuple[subprocess.Popen[str], str]:
        script = [str(project / "scripts/start")]
        process = subprocess.Popen(
            script,
            env=clean_environment(**environment),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run behind an "&"
        )
        running.append(process)
        assert process.stderr
        said = ""
        while "Ctrl-C stops it" not in said and (line := process.stderr.readline()):
            said += line
        return process, said

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


WITHOUT_MODEL = {"FUNNEL_MODEL": "none", "FUNNEL_DIM": "8"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_start_and_stop(start: Callable[..., Any], number: signal.Signals, code: int) -> None:
    """It serves on PORT, says what to type, and takes the service along when it is stopped."""
    port = free_port()
    process, said = start(PORT=str(port), **WITHOUT_MODEL)
    assert f"Ready on http://127.0.0.1:{port} (0 documents" in said
    assert get(f"http://127.0.0.1:{port}/stats")["count"] == 0
    process.send_signal(number)
    assert process.wait(60) == code
    with pytest.raises(OSError, match="refused"):
        get(f"http://127.0.0.1:{port}/stats")


def test_start_when_the_port_is_taken(start: Callable[..., Any], project: Path) -> None:
    """A second start on the same port says so, and what to do."""
    port = str(free_port())
    start(PORT=port, **WITHOUT_MODEL)
    second = run(project / "scripts/start", PORT=port, **WITHOUT_MODEL)
    assert second.returncode == 1
    assert "Choose another port: PORT=" in second.stderr


def test_start_that_cannot(project: Path) -> None:
    """When the service does not start, its reason is shown and the exit code is its own."""
    failed = run(project / "scripts/start", PORT=str(free_port()), FUNNEL_MODEL="none")
    assert failed.returncode == 1
    assert "error: FUNNEL_DIM" in failed.stderr


def test_start_with_what_it_does_not_know(project: Path) -> None:
    """A wrong setting is told in one line, an argument is refused with the usage."""
    wrong = run(project / "scripts/start", PORT="many")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "error: FUNNEL_PORT" in wrong.stderr
    refused = run(project / "scripts/start", "--port", "8001")
    assert refused.returncode == 2
    assert "unknown argument: --port\nUsage: scripts/start" in refused.stderr


@pytest.mark.long
def test_demo(start: Callable[..., Any], project: Path, record_property: Callable[[str, object], None]) -> None:
    """The first start fills an empty service with the demo corpus, the second takes seconds and stores nothing."""
    port = str(free_port())
    for which in ("first", "second"):
        began = time.monotonic()
        process, said = start(PORT=port, HF_HUB_OFFLINE="1")
        record_property(f"{which}_start_seconds", round(time.monotonic() - began, 1))
        assert ("ingesting the demo corpus" in said) == (which == "first")
        body = json.dumps({"query": "parse a date from text"}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/search", body, headers)
        assert "datetime.datetime.strptime" in {hit["id"] for hit in get(request)["results"]}
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0

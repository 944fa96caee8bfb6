"""Keys on the command line: made, taken by `funnel serve`, sent by every other command, and to nobody else."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import first_steps
import pytest

from access_cases import FULL, INGEST, KEYED, READ
from app.cli_connect import own_key, own_url
from app.client import Client, ProblemError
from app.main import create_app
from app.settings import Settings
from cli_runner import Run, at_work, jsonl, runner
from embedders import HashEmbedder


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service with keys."""
    with at_work(
        create_app(Settings(data_dir=tmp_path / "served", _env_file=None, **KEYED), HashEmbedder())
    ) as address:
        yield address


def test_a_made_key_is_one_that_is_taken(funnel: Run) -> None:
    """Long, random, and without a character that a shell, a .env file or a header would read otherwise."""
    one, other = funnel("key").out, funnel("key").out
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", one)
    assert one != other
    create_app(Settings(_env_file=None, api_key=one.strip()))


def test_commands_send_the_key_of_clients(
    funnel: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment or .env; without one the message says what to set."""
    refused = funnel("stats", "--url", url)
    assert (refused.code, "FUNNEL_CLIENT_KEY" in refused.err) == (1, True)
    assert "Traceback" not in refused.err
    monkeypatch.setenv("FUNNEL_CLIENT_KEY", INGEST)
    assert funnel("ingest", jsonl(tmp_path / "a.jsonl", {"id": "a", "text": "t"}), "--url", url).code == 0
    monkeypatch.delenv("FUNNEL_CLIENT_KEY")
    (tmp_path / ".env").write_text(f"FUNNEL_CLIENT_KEY={READ}\n", "utf-8")
    assert funnel("search", "t", "--url", url).code == 0
    denied = funnel("delete", "a", "--url", url)
    assert (denied.code, "which read keys do not have" in denied.err) == (1, True)


def test_the_settings_keys_go_to_their_own_service_alone(
    funnel: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Who serves with a key need not say it twice; no other address gets it."""
    host, port = url.removeprefix("http://").split(":")
    monkeypatch.setenv("FUNNEL_API_KEY", f"{FULL},another-key-of-the-tests")
    monkeypatch.setenv("FUNNEL_PORT", port)
    assert (own_url(), own_key(None), own_key(own_url())) == (url, FULL, FULL)
    assert own_key("http://search.example.com") is own_key(f"http://{host}:1") is None
    assert funnel("stats").code == 0
    assert funnel("stats", "--url", f"http://localhost:{port}").code == 1
    monkeypatch.setenv("FUNNEL_CLIENT_KEY", READ)
    assert own_key("http://search.example.com") == READ


def test_a_directory_needs_no_key(funnel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its private socket is nobody else's, whatever the settings of the service are."""
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    monkeypatch.setenv("FUNNEL_DIM", "4")
    monkeypatch.setenv("FUNNEL_API_KEY", FULL)
    monkeypatch.setenv("FUNNEL_RATE_LIMIT", "0.001")
    monkeypatch.setenv("FUNNEL_RATE_BURST", "1")
    monkeypatch.setenv("FUNNEL_HOST", "0.0.0.0")
    rows = jsonl(tmp_path / "a.jsonl", {"id": "a", "vector": [1, 0, 0, 0], "text": "t"})
    assert funnel("ingest", rows, "--data-dir", tmp_path / "own").code == 0
    assert funnel("stats", "--data-dir", tmp_path / "own").code == 0


def test_the_client_takes_a_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument, or from the environment; a 401 says how."""
    with Client(url, api_key=READ) as client:
        assert client.count() == 0
    with Client(url) as client, pytest.raises(ProblemError, match=r"FUNNEL_CLIENT_KEY.*api_key") as caught:
        client.count()
    assert caught.value.status == 401
    monkeypatch.setenv("FUNNEL_CLIENT_KEY", READ)
    with Client(url) as client:
        assert client.count() == 0


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({}, ["--host", "0.0.0.0"], "FUNNEL_HOST=0.0.0.0 lets other machines in, and there is no key"),
        ({"FUNNEL_HOST": "::"}, [], "set FUNNEL_ALLOW_NO_KEY=1"),
        ({"FUNNEL_API_KEYS": FULL}, [], "did you mean FUNNEL_API_KEY?"),
        ({"FUNNEL_API_KEY": "short"}, [], "at least 16 are needed; make one: funnel key"),
        ({"FUNNEL_API_KEY_FILE": "missing"}, ["--host", "0.0.0.0"], "cannot read missing"),
        ({"FUNNEL_CORS_ORIGINS": "*"}, [], "needs keys"),
    ],
)
def test_serve_refuses_what_would_not_protect(
    funnel: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], options: list[str], said: str
) -> None:
    """One line, exit code 1, and no directory is made."""
    monkeypatch.setattr("app.serving.serve", lambda *_: pytest.fail("it serves"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = funnel("serve", "--port", "0", *options)
    assert done.code == 1
    assert said in done.err
    assert done.err.count("\n") == 1
    assert FULL not in done.err
    assert not Path("data").exists()


def test_a_real_server_with_a_key_file(tmp_path: Path) -> None:
    """On all addresses, with its first line of the log about what protects it, and the key nowhere in it."""
    (tmp_path / "secret").write_text(f"{FULL}\n", "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"HOST": "0.0.0.0", "PORT": str(port), "MODEL": "none", "DIM": "4", "API_KEY_FILE": "secret"}
    settings |= {"LOG_LEVEL": "debug"}
    environment = {f"FUNNEL_{name}": value for name, value in settings.items()}
    server = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": "/usr/bin:/bin", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with Client(f"http://127.0.0.1:{port}", api_key=FULL, attempts=12) as client:
            assert client.count() == 0
        with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ProblemError, match="401"):
            client.count()
    finally:
        server.terminate()
        _, log = server.communicate(timeout=60)
    assert "INFO app.main keys: full 1" in log
    assert "status=401" in log
    assert FULL not in log


def test_the_start_script_knows_the_key(funnel: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its examples send it without showing it."""
    monkeypatch.setenv("FUNNEL_API_KEY", FULL)
    monkeypatch.setenv("FUNNEL_PORT", url.rpartition(":")[2])
    with Client(url, api_key=own_key(url)) as client:
        shown = list(first_steps.examples(url, client.info()))
    assert all('-H "authorization: Bearer $FUNNEL_API_KEY"' in example for example in shown)
    for example in shown:
        subprocess.run(["bash", "-c", example.replace("curl -s", "curl -sf")], check=True, capture_output=True)
    assert FULL not in "".join(shown)

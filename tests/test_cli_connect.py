"""What a command talks to, and how it says that it cannot."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli_connect import own_url
from cli_runner import Result, Run, jsonl, runner, serving


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return runner(monkeypatch, capsys, tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "served") as address:
        yield address


def test_locked_directory(funnel: Run, url: str, tmp_path: Path) -> None:
    """A directory that a service has open is refused in one line that names --url."""
    for command in ("stats", "verify"):
        done = funnel(command, "--data-dir", tmp_path / "served")
        assert done.code == 1
        assert "another process" in done.err
        assert "Traceback" not in done.err
    assert "--url" in funnel("stats", "--data-dir", tmp_path / "served").err


def test_errors_are_one_line(funnel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No index, no file, no service, a wrong setting: one line each, and exit code 1."""
    missing = tmp_path / "missing"
    assert funnel("stats", "--data-dir", missing).err == f"error: there is no index in {missing}\n"
    assert funnel("verify", "--data-dir", missing).err == f"error: there is no index in {missing}\n"
    assert funnel("ingest", missing.with_suffix(".jsonl")).err.endswith("No such file or directory\n")
    monkeypatch.setattr("app.client_http.FIRST_PAUSE", 0.001)
    unreachable = funnel("info", "--url", "http://127.0.0.1:9")
    assert (unreachable.code, "no answer from http://127.0.0.1:9" in unreachable.err) == (1, True)
    monkeypatch.setenv("FUNNEL_PORT", "many")
    wrong = funnel("serve")
    assert (wrong.code, "FUNNEL_PORT" in wrong.err) == (1, True)


def test_paths_that_cannot_be(funnel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data directory that is a file, or is inside one, and a place for failures that cannot be written: one line."""
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    monkeypatch.setenv("FUNNEL_DIM", "8")
    path = jsonl(tmp_path / "a.jsonl", {"id": "a", "text": "t"})
    for wrong in (path, path / "data"):
        monkeypatch.setenv("FUNNEL_DATA_DIR", str(wrong))
        assert_one_line(funnel("serve", "--port", 0), str(wrong))
        assert_one_line(funnel("ingest", path, "--data-dir", wrong), str(wrong))
    for wrong in (tmp_path, path / "failed.jsonl", tmp_path / "missing" / "failed.jsonl"):
        assert_one_line(funnel("ingest", path, "--failures", wrong), str(wrong))


def assert_one_line(done: Result, named: str) -> None:
    """An error that names something, in the last line, after at most a progress bar."""
    assert (done.code, "Traceback" in done.err) == (1, False), done.err
    assert "error: " in done.err.splitlines()[-1]
    assert named in done.err.splitlines()[-1]


def test_the_service_of_the_settings(funnel: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --url a command asks where the settings say that the service is; FUNNEL_URL comes before them."""
    (tmp_path / ".env").write_text(f"FUNNEL_HOST=0.0.0.0\nFUNNEL_PORT={url.rpartition(':')[2]}\n")
    assert json.loads(funnel("info", "--json").out)["dim"] == 32
    monkeypatch.setenv("FUNNEL_PORT", "9")
    monkeypatch.setattr("app.client_http.FIRST_PAUSE", 0.001)
    assert "no answer from http://127.0.0.1:9" in funnel("info").err
    monkeypatch.setenv("FUNNEL_URL", url)
    assert funnel("info").code == 0


@pytest.mark.parametrize(("host", "shown"), [("::", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("funnel.test", "funnel.test")])
def test_own_url(host: str, shown: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A service on all addresses is reached at the loopback one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUNNEL_HOST", host)
    monkeypatch.setenv("FUNNEL_PORT", "81")
    assert own_url() == f"http://{shown}:81"

"""Snapshots over HTTP, through the client, and on the command line."""

import json
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import client_snapshots
from app.client import Client, ProblemError
from app.main import create_app
from app.snapshot_responses import Snapshot, Snapshots
from cli_runner import Run, at_work, jsonl, runner
from embedders import HashEmbedder
from index import room, snapshots
from index.errors import StorageFull, StoreCorrupt
from index.restoring import restore
from index_cases import until
from service import TEXTS, assert_problem, fill, ids, running, settings_for

SENT = {"content-type": "application/json"}
STREAMED = {"accept": "application/x-ndjson"}
BAD = [
    "..%2F..%2Fmanifest.json",
    "%2e%2e",
    "%2Fetc%2Fpasswd",
    "a.tar",
    "A",
    "nothing",
    "good%0A",
    "good%00",
    "%FF",
]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A service with the documents of TEXTS."""
    with running(tmp_path) as client:
        fill(client)
        yield client


@pytest.fixture
def funnel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in an empty folder."""
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    run = runner(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("FUNNEL_MODEL", "none")
    return run


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Client]:
    """The library's client of a service behind a socket, with the documents of TEXTS."""
    with at_work(create_app(settings_for(tmp_path), HashEmbedder())) as url, Client(url, attempts=1) as client:
        client.ingest({"id": name, "text": text} for name, text in TEXTS.items())
        yield client


def test_a_snapshot_is_made_listed_downloaded_and_deleted(client: TestClient, tmp_path: Path) -> None:
    """And the one that was downloaded is restored: the same hits."""
    question = {"query": "sort a list of numbers"}
    before = client.post("/search", json=question).json()["results"]
    made = client.post("/snapshots", json={}).json()
    assert Snapshot.model_validate(made).count == len(TEXTS)
    listed = client.get("/snapshots").json()
    assert Snapshots.model_validate(listed).snapshots == [Snapshot.model_validate(made)]
    answer = client.get(f"/snapshots/{made['name']}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-tar")
    assert answer.headers["content-disposition"] == f'attachment; filename="{made["name"]}.tar"'
    assert int(answer.headers["content-length"]) == made["bytes"] == len(answer.content)
    (tmp_path / "got.tar").write_bytes(answer.content)
    with (tmp_path / "got.tar").open("rb") as file:
        restore(file, tmp_path / "again" / "data")
    with running(tmp_path / "again") as other:
        assert other.post("/search", json=question).json()["results"] == before
    assert client.delete(f"/snapshots/{made['name']}").json() == {"deleted": 1}
    assert client.get("/snapshots").json() == {"snapshots": []}
    assert_problem(client.get(f"/snapshots/{made['name']}"), 404, "snapshot-not-found")
    assert_problem(client.delete(f"/snapshots/{made['name']}"), 404, "snapshot-not-found")


def test_a_name_is_given_in_the_body(client: TestClient) -> None:
    """Checked, and used once."""
    assert client.post("/snapshots", json={"name": "nightly"}).json()["name"] == "nightly"
    assert client.post("/snapshots", json={}).json()["name"] != "nightly"
    assert_problem(client.post("/snapshots", json={"name": "nightly"}), 409, "snapshot-exists")
    for name in ("../x", "A", "", "a b", "x" * 65, "a\n", 7, ["a"]):
        assert_problem(client.post("/snapshots", json={"name": name}), 422, "validation")
    assert_problem(client.post("/snapshots", json={"path": "/tmp"}), 422, "validation")
    assert_problem(client.post("/snapshots"), 415, "unsupported-media-type")
    assert_problem(client.post("/snapshots", headers=SENT, content=b"{"), 400, "malformed-json")
    assert_problem(client.post("/snapshots", headers=SENT, content=b" " * 5_000), 413, "body-too-large")
    assert len(client.get("/snapshots").json()["snapshots"]) == 2


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_address_leads_out_of_the_folder(client: TestClient, method: str) -> None:
    """Encoded or not: a 404, and everything is where it was."""
    client.post("/snapshots", json={"name": "good"})
    for name in BAD:
        answer = client.request(method, f"/snapshots/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), name
    assert [found["name"] for found in client.get("/snapshots").json()["snapshots"]] == ["good"]
    assert client.get("/stats").json()["count"] == len(TEXTS)


def test_a_download_can_be_continued(client: TestClient) -> None:
    """By a range of the same file; ranges that cannot be are told."""
    made = client.post("/snapshots", json={"name": "nightly"}).json()
    whole = client.get("/snapshots/nightly")
    rest = {"range": "bytes=1000-", "if-range": whole.headers["etag"]}
    answer = client.get("/snapshots/nightly", headers=rest)
    assert (answer.status_code, answer.content) == (206, whole.content[1_000:])
    assert answer.headers["content-range"] == f"bytes 1000-{made['bytes'] - 1}/{made['bytes']}"
    assert client.get("/snapshots/nightly", headers={**rest, "if-range": '"other"'}).status_code == 200
    for wrong in (f"bytes={made['bytes']}-", "lines=1-2", "bytes=5-3"):
        problem = assert_problem(
            client.get("/snapshots/nightly", headers={"range": wrong}), 416, "range-not-satisfiable"
        )
        assert str(made["bytes"]) in problem["detail"]


def test_progress_is_told_line_by_line(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the record at the end; a failure is the last line, or the answer."""
    answer = client.post("/snapshots", json={}, headers=STREAMED)
    *lines, last = [json.loads(line) for line in answer.text.splitlines()]
    assert (last["type"], last["status"], last["count"]) == ("summary", 200, len(TEXTS))
    assert all(line["type"] == "progress" and line["processed"] <= line["bytes"] for line in lines)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: type("usage", (), {"free": 5}))
    assert "5 are free" in assert_problem(client.post("/snapshots", json={}), 507, "storage-full")["detail"]
    failed = client.post("/snapshots", json={}, headers=STREAMED)
    assert failed.status_code == 507 or json.loads(failed.text.splitlines()[-1])["status"] == 507


def test_one_at_a_time(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told so, and what is searched or written meanwhile is answered."""
    real, reached, go = snapshots.write_snapshot, threading.Event(), threading.Event()

    def waiting(*arguments: Any) -> Any:
        reached.set()
        assert go.wait(20)
        return real(*arguments)

    monkeypatch.setattr(snapshots, "write_snapshot", waiting)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/snapshots", json={})
        assert reached.wait(20)
        try:
            assert_problem(client.post("/snapshots", json={}), 409, "snapshot-busy")
            assert ids(client.post("/search", json={"query": "parse a date from text"}).json()["results"])[0] == "date"
            assert client.delete("/documents/socket").json() == {"deleted": 1}
        finally:
            go.set()
        assert first.result().json()["count"] == len(TEXTS) - 1


@pytest.mark.parametrize(("error", "status"), [(StorageFull("full"), 507), (StoreCorrupt("damaged rows 7"), 500)])
def test_what_goes_wrong_is_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """With its reason."""

    def failing(*_: Any) -> None:
        raise error

    monkeypatch.setattr(snapshots, "write_snapshot", failing)
    answer = client.post("/snapshots", json={})
    assert (answer.status_code, answer.json()["detail"]) == (status, str(error))


def test_the_client_makes_lists_downloads_and_deletes(served: Client, tmp_path: Path) -> None:
    """With progress in bytes; a file has its name only when it is whole."""
    told: list[tuple[int, int]] = []
    made = served.make_snapshot("nightly", lambda done, total: told.append((done, total)))
    assert all(0 <= done <= total for done, total in told)
    assert served.snapshots() == [made]
    target = tmp_path / "got.tar"
    served.download_snapshot("nightly", target, lambda done, total: told.append((done, total)))
    assert told[-1] == (made["bytes"], made["bytes"])
    with tarfile.open(target) as file:
        assert file.getnames()[0] == "snapshot.json"
    served.delete_snapshot("nightly")
    for call in (lambda: served.delete_snapshot("nightly"), lambda: served.download_snapshot("nightly", target)):
        with pytest.raises(ProblemError) as refused:
            call()
        assert refused.value.status == 404
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "got.tar"]


def test_a_client_that_goes_away_leaves_nothing(
    served: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a snapshot is made: it is given up, and the next one begins."""
    held = threading.Event()
    real = snapshots.write_snapshot

    def slow(*arguments: Any) -> Any:
        meter = arguments[-1]
        for _ in range(2_000):
            meter.progress(1, 10)
            if held.wait(0.01):
                return real(*arguments)
        raise AssertionError("nobody told that the client is gone")

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(snapshots, "write_snapshot", slow)
    with pytest.raises(KeyboardInterrupt):
        served.make_snapshot(progress=interrupted)
    held.set()
    until(lambda: _accepted(served))  # as soon as the service has noticed
    assert [path.name for path in (tmp_path / "data" / "snapshots").iterdir()] == ["next.tar"]


def _accepted(client: Client) -> bool:
    """Whether a snapshot was made; false while there is another one."""
    try:
        return client.make_snapshot("next")["name"] == "next"
    except ProblemError as error:
        if error.status != 409:
            raise
        return False


def test_a_download_that_breaks_off_leaves_no_file(
    served: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one that is interrupted."""
    served.make_snapshot("nightly")

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        served.download_snapshot("nightly", tmp_path / "got.tar", interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert client_snapshots._address("a/b") == "/snapshots/a%2Fb"


def test_the_command_line_all_the_way(funnel: Run, tmp_path: Path) -> None:
    """Create, list, download, delete, restore; and the restored directory answers."""
    vectors = [{"id": str(i), "vector": [1.0, 0.1 * i, 0.0, 0.5]} for i in range(9)]
    jsonl(tmp_path / "docs.jsonl", *vectors)
    funnel_of = tmp_path / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUNNEL_DIM", "4")
        assert funnel("ingest", "docs.jsonl", "--data-dir", funnel_of).code == 0
    made = funnel("snapshot", "create", "nightly", "--data-dir", funnel_of)
    assert (made.code, made.out.startswith("nightly: 9 documents, ")) == (0, True)
    record = json.loads(funnel("snapshot", "create", "--json", "--data-dir", funnel_of).out)
    (funnel_of / "snapshots" / "noise.tar").write_bytes(b"noise")
    listed = json.loads(funnel("snapshot", "list", "--json", "--data-dir", funnel_of).out)
    assert [found["name"] for found in listed] == ["noise", *sorted(["nightly", record["name"]], key=_made(listed))]
    table = funnel("snapshot", "list", "--data-dir", funnel_of).out
    assert "nightly" in table
    assert "ends in the middle" in table
    assert funnel("snapshot", "download", "nightly", "--data-dir", funnel_of).code == 0
    again = funnel("snapshot", "download", "nightly", "--data-dir", funnel_of)
    assert (again.code, "exists already" in again.err) == (2, True)
    assert funnel("snapshot", "delete", "nightly", "--data-dir", funnel_of).out == "nightly: deleted\n"
    gone = funnel("snapshot", "delete", "nightly", "--data-dir", funnel_of)
    assert (gone.code, "there is no snapshot 'nightly'" in gone.err) == (1, True)
    done = funnel("restore", "nightly.tar", "--data-dir", "new")
    assert (done.code, done.out.startswith("new: 9 documents as of 2")) == (0, True)
    assert json.loads(funnel("stats", "--json", "--data-dir", "new").out)["count"] == 9
    refused = funnel("restore", "nightly.tar", "--data-dir", "new")
    assert (refused.code, "error: new is not empty, it holds" in refused.err) == (1, True)
    assert funnel("restore", "missing.tar", "--data-dir", "other").code == 1
    assert not (tmp_path / "other").exists()


def _made(listed: list[dict[str, Any]]) -> Any:
    """A key that orders names by when they were made."""
    return {found["name"]: (found.get("created", ""), found["name"]) for found in listed}.__getitem__


@pytest.mark.parametrize(
    "command", [["snapshot"], ["snapshot", "create"], ["snapshot", "list"], ["snapshot", "download"], ["restore"]]
)
def test_help_teaches_with_examples(funnel: Run, command: list[str]) -> None:
    """Each command shows how it is used."""
    shown = funnel(*command, "--help")
    assert shown.code == 0
    assert f"funnel {command[0]}" in shown.out

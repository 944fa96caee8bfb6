"""Compaction over HTTP, through the client and on the command line."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.applying import CallerGone
from app.client import Client, ProblemError
from app.compact_responses import Compacted
from app.main import create_app
from cli_runner import at_work, runner
from index import compaction, next_generation, room
from index_cases import random_rotation, unit_vectors
from service import Departure, assert_problem, fill, running, settings_for

V = unit_vectors(600)
JSON = {"content-type": "application/json"}  # as every write, so that no web page can send it


@contextmanager
def served(path: Path) -> Iterator[tuple[Client, str]]:
    """A client of a service behind a socket with 600 documents, of which every second was deleted; and its address."""
    settings = settings_for(path, model="none", dim=32, prefix_dim=8)
    with at_work(create_app(settings)) as url, Client(url, attempts=1) as client:
        client.ingest({"id": f"d{i}", "text": f"text {i}", "vector": v.tolist()} for i, v in enumerate(V))
        client.delete([f"d{i}" for i in range(0, 600, 2)])
        yield client, url


def test_the_answer_tells_what_was_erased(tmp_path: Path) -> None:
    """As JSON; the statistics advise it before, and no more afterwards."""
    with running(tmp_path) as client:
        fill(client)
        assert client.get("/stats").json()["advice"] is None
        client.post("/documents/delete", json={"ids": ["perl", "sort"]})
        stats = client.get("/stats").json()
        assert (stats["dead_rows"], stats["dead_bytes"] > 0) == (2, True)
        assert "2 of 5 rows are dead" in stats["advice"]
        before = client.post("/search", json={"query": "a list of numbers"}).json()["results"]
        answer = client.post("/compact", headers=JSON)
        assert answer.status_code == 200
        told = Compacted.model_validate(answer.json())
        assert (told.rows_before, told.rows_after, told.erased, told.generation) == (5, 3, 2, 2)
        assert told.snapshots_with_erased_rows == []
        assert client.post("/search", json={"query": "a list of numbers"}).json()["results"] == before
        stats = client.get("/stats").json()
        assert (stats["dead_rows"], stats["advice"]) == (0, None)
        assert client.post("/compact", headers=JSON).json()["erased"] == 0
        assert_problem(client.post("/compact?purge=true", headers=JSON), 422, "validation")
        assert client.post("/compact", json={}).json()["erased"] == 0
        assert_problem(client.post("/compact", json={"purge_snapshots": True}), 422, "validation")
        assert_problem(client.post("/compact"), 415, "unsupported-media-type")  # as a page of another site would
        lines = {"content-type": "application/x-ndjson"}  # a stream may take its time, and there is none here
        assert_problem(client.post("/compact", headers=lines), 415, "unsupported-media-type")


def test_progress_is_told_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As lines, of which the last one is the summary; the client hears the same."""
    monkeypatch.setattr(next_generation, "BATCH", 8)
    with served(tmp_path) as (client, url):
        told: list[tuple[int, int]] = []
        answer = client.compact(progress=lambda done, total: told.append((done, total)))
        assert (answer["erased"], answer["rows_after"]) == (300, 300)
        assert {total for _, total in told} == {1_800}
        assert told == sorted(told)
        client.delete(["d1"])
        lines = httpx.post(f"{url}/compact", headers={**JSON, "accept": "application/x-ndjson"}).text.splitlines()
        summary = json.loads(lines[-1])
        assert (summary["type"], summary["status"], summary["erased"]) == ("summary", 200, 1)


def test_a_client_that_goes_away_has_changed_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile another compaction, and a rotation, are refused with a 409 that names it; afterwards it works."""
    monkeypatch.setattr(next_generation, "BATCH", 8)
    gone, ended = Departure(monkeypatch), threading.Event()
    add, compacted = next_generation.Copy.add, compaction.Compactor.compact

    def slow(*arguments: Any) -> None:
        gone.step()
        add(*arguments)

    def watched(*arguments: Any) -> Any:
        try:
            return compacted(*arguments)
        except CallerGone:
            ended.set()
            raise

    monkeypatch.setattr(next_generation.Copy, "add", slow)
    monkeypatch.setattr(compaction.Compactor, "compact", watched)

    def leave(*_: int) -> None:
        for other in (client.compact, lambda: client.rotate(random_rotation(), (8,))):
            with pytest.raises(ProblemError, match="a compaction is running") as refused:
                other()
            assert refused.value.type == "/problems/maintenance-busy"
        raise KeyboardInterrupt

    with served(tmp_path) as (client, _):
        with pytest.raises(KeyboardInterrupt):
            client.compact(progress=leave)
        assert ended.wait(60)
        answer = client.compact()
        assert (answer["rows_before"], answer["generation"]) == (600, 2)


def test_want_of_room_is_a_507_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""
    with served(tmp_path) as (client, _):
        usage = room.shutil.disk_usage(tmp_path)
        monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage._replace(free=1_000))
        with pytest.raises(ProblemError, match=r"300 documents needs [\d,]{5,} bytes .* 1,000 are free") as refused:
            client.compact()
        assert (refused.value.status, refused.value.type) == (507, "/problems/storage-full")
        assert client.stats()["dead_rows"] == 300


def test_snapshots_that_hold_erased_rows_are_listed_and_purged(tmp_path: Path) -> None:
    """Those made before; one that was made after stays. Without the wish they all stay."""
    with running(tmp_path) as client:
        fill(client)
        store = client.app.state.service.store  # type: ignore[attr-defined]
        store.snapshots.make(name="before")
        client.post("/documents/delete", json={"ids": ["perl"]})
        first = client.post("/compact", headers=JSON).json()
        assert (first["snapshots_with_erased_rows"], first["purged_snapshots"]) == (["before"], False)
        store.snapshots.make(name="after")
        second = client.post("/compact?purge_snapshots=true", headers=JSON).json()
        assert (second["erased"], second["snapshots_with_erased_rows"], second["purged_snapshots"]) == (
            0,
            ["before"],
            True,
        )
        assert [record["name"] for record in store.snapshots.list()] == ["after"]


def test_the_command_compacts_a_service_and_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what came of it."""
    funnel = runner(monkeypatch, capsys, tmp_path)
    with served(tmp_path) as (client, url):
        done = funnel("compact", "--url", url)
        assert done.code == 0, done.err
        assert done.out.startswith("300 of 600 rows erased; ")
        assert funnel("compact", "--url", url).out == "nothing to erase: all 300 rows are alive\n"
        client.delete(["d1"])
    done = funnel("compact", "--data-dir", tmp_path / "data", "--json")
    assert done.code == 0, done.err
    assert (json.loads(done.out)["erased"], json.loads(done.out)["generation"]) == (1, 3)
    assert json.loads(done.out)["kept_by_repair"] == []
    for name in ("lost-1.jsonl", "collections/default/documents.sqlite.damaged-1"):
        (tmp_path / "data" / name).write_text("x")
    told = funnel("compact", "--data-dir", tmp_path / "data").out
    assert told.endswith("yours to remove: collections/default/documents.sqlite.damaged-1, lost-1.jsonl\n")
    assert "funnel compact" in funnel("compact", "--help").out

"""Metrics that are read when they are asked for, and the names of all."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app import gauges
from app.main import create_app
from app.serving import in_process
from embedders import HashEmbedder
from index.durations import Durations
from index.errors import StoreUnavailable
from service import fill, running, settings_for

Samples = dict[tuple[str, ...], float]
UNITS = ("_seconds", "_bytes", "_rows", "_documents", "_queries")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with five documents and a deleted one."""
    with running(tmp_path_factory.mktemp("gauges")) as client:
        fill(client)
        client.post("/ingest", json={"documents": [{"id": "gone", "text": "soon"}]})
        client.delete("/documents/gone")
        yield client


def samples(client: TestClient) -> Samples:
    """(name, values of labels in order) -> value."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_the_index_is_told_as_the_statistics_tell_it(client: TestClient) -> None:
    """Documents, rows, the parts of the disk and of memory without their total, room on the file system."""
    found, stats = samples(client), client.get("/stats").json()
    assert found["funnel_index_documents",] == 5
    assert (found["funnel_index_rows",], found["funnel_index_dead_rows",]) == (6, 1)
    assert found["funnel_index_tail_rows",] == 6
    assert ("funnel_index_merge_rows",) not in found  # so few are never merged
    sizes = {part: found["funnel_disk_bytes", part] for part in stats["disk_bytes"] if part != "total"}
    assert sum(sizes.values()) == stats["disk_bytes"]["total"]
    assert ("funnel_disk_bytes", "total") not in found
    assert found["funnel_memory_bytes", "shortlist"] == stats["memory_bytes"]["shortlist"]
    assert 0 < found["funnel_filesystem_avail_bytes",] < found["funnel_filesystem_size_bytes",]


def test_each_commit_is_timed_with_its_syncs(tmp_path: Path) -> None:
    """A delete writes no vectors; a commit takes longer than what is on the disk in it."""
    with running(tmp_path) as client:
        before = samples(client)
        fill(client)
        client.delete("/documents/perl")
        after = samples(client)
    assert before["funnel_commit_seconds_count",] == 0
    assert after["funnel_commit_seconds_count",] == 2
    assert after["funnel_commit_seconds_bucket", "+Inf"] == 2
    assert after["funnel_fsync_seconds_count", "vectors"] == 1
    assert after["funnel_fsync_seconds_count", "documents"] == 2
    synced = sum(after["funnel_fsync_seconds_sum", file] for file in ("vectors", "documents"))
    assert 0 < synced < after["funnel_commit_seconds_sum",]


def test_the_process_is_told(client: TestClient) -> None:
    """Page faults and kinds of memory, besides what Prometheus's own client tells of a process."""
    found = samples(client)
    assert found["funnel_page_faults_total", "minor"] > 0
    assert ("funnel_page_faults_total", "major") in found
    assert found["process_resident_memory_bytes",] > 0
    kinds = sum(found["funnel_resident_bytes", kind] for kind in ("anonymous", "files", "shared"))
    assert kinds == pytest.approx(found["process_resident_memory_bytes",], rel=0.2)


def test_a_system_that_does_not_tell_has_no_such_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a Mac."""
    monkeypatch.setattr(gauges, "STATUS", tmp_path / "status")
    assert gauges.resident() == {}


def test_a_store_that_became_read_only_shows(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 with a reason, 0 without."""
    assert samples(client)["funnel_read_only",] == 0
    monkeypatch.setattr(client.app.state.service.store._writer, "_broken", StoreUnavailable("a sync failed"))  # type: ignore[attr-defined]
    assert samples(client)["funnel_read_only",] == 1


def test_what_was_refused_before_it_was_let_in_is_counted(tmp_path: Path) -> None:
    """By the problem that the client was told; the application has seen no such request."""
    settings = settings_for(tmp_path, allowed_hosts="")
    with (
        in_process(create_app(settings, HashEmbedder()), settings) as transport,
        httpx.Client(transport=transport, base_url="http://localhost") as client,
    ):
        refused = client.get("/stats", headers={"x-long": "x" * 100_000})
        text = client.get("/metrics").text
    slug = refused.json()["type"].rpartition("/")[2]
    assert f'funnel_http_refused_total{{reason="{slug}"}} 1.0' in text
    assert 'route="/stats"' not in text


def test_names_keep_to_the_conventions(client: TestClient) -> None:
    """Counters end in _total, histograms in their unit; none is in milliseconds or kilobytes; each has a sentence."""
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    ours = [family for family in families if family.name.startswith("funnel_") and not family.name.endswith("_created")]
    assert len(ours) > 40
    for family in ours:
        assert family.documentation.endswith("."), family.name
        assert not {"ms", "milliseconds", "kb", "kib", "mb", "percent"} & set(family.name.split("_")), family.name
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples), family.name
        if family.type == "histogram":
            assert family.name.endswith((*UNITS, "_estimate")), family.name


def test_durations_are_counted_up_to_each_bound() -> None:
    """A bound itself belongs to what took no longer; the last counts everything."""
    durations = Durations()
    for seconds in (0.0001, 0.0002, 0.3, 99.0):
        durations.note(seconds)
    found = dict(durations.cumulated())
    assert (found[0.0002], found[0.2], found[0.5], found[10.0], found[float("inf")]) == (2, 2, 3, 3, 4)
    assert durations.seconds == pytest.approx(99.3003)

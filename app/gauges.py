"""What is read when Prometheus asks for it, so that it costs a search nothing."""

import resource
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.admission import Admission
from app.info import NAME
from app.service import Service

STATUS = Path("/proc/self/status")  # of Linux
RESIDENT = {"RssAnon": "anonymous", "RssFile": "files", "RssShmem": "shared"}


@dataclass(frozen=True)
class Now:
    """Where the numbers come from: the store's statistics of this moment, and what lives in the process."""

    stats: Mapping[str, Any]
    service: Service
    admission: Admission

    @property
    def shortlist(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.stats["shortlist"]
        return found


Read = Callable[[Now], float | None]
ReadParts = Callable[[Now], Mapping[str, float]]
ONE: tuple[tuple[str, str, Read], ...] = (
    ("index_documents", "Live documents.", lambda now: now.stats["count"]),
    ("index_rows", "Rows of vectors, dead ones too.", lambda now: now.stats["rows"]),
    ("index_dead_rows", "Rows of replaced and deleted documents.", lambda now: now.stats["dead_rows"]),
    ("index_generation", "The live generation of vectors.", lambda now: now.stats["generation"]),
    ("index_older_rows", "Rows in the graph or the packed codes.", lambda now: now.shortlist["older_rows"]),
    ("index_tail_rows", "Newer rows, of which searches compare each.", lambda now: now.shortlist["tail_rows"]),
    (
        "index_merge_rows",
        "Newer rows from which on they are merged; none where they are not.",
        lambda now: now.shortlist["merged_from"],
    ),
    ("index_merging", "1 while newer rows are merged.", lambda now: now.shortlist["merging"]),
    ("index_merge_failed", "1 when the last merge failed.", lambda now: now.shortlist["merge_error"] is not None),
    ("calibrated", "1 while target recalls go by a calibration.", lambda now: _in_force(now.stats)),
    (
        "filesystem_avail_bytes",
        "Bytes free where the index is.",
        lambda now: shutil.disk_usage(now.service.settings.data_dir).free,
    ),
    (
        "filesystem_size_bytes",
        "Size of the file system that the index is on.",
        lambda now: shutil.disk_usage(now.service.settings.data_dir).total,
    ),
    ("http_requests_inside", "Requests that are not answered yet.", lambda now: now.admission.inside),
    ("http_body_bytes", "Bytes of request bodies in memory.", lambda now: now.admission.held),
    (
        "read_only",
        "1 when an I/O error has made the store read-only.",
        lambda now: now.stats["read_only"] is not None,
    ),
)
PARTS: tuple[tuple[str, str, str, ReadParts], ...] = (
    ("disk_bytes", "Bytes on disk, by part of the index.", "part", lambda now: _parts(now.stats["disk_bytes"])),
    ("memory_bytes", "Bytes of memory, by part of the index.", "part", lambda now: now.stats["memory_bytes"]),
    (
        "resident_bytes",
        "Bytes of the process in memory: its own (anonymous), pages of mapped files (files), shared.",
        "kind",
        lambda now: resident(),
    ),
    ("queue_depth", "Work that waits, by queue.", "queue", lambda now: now.service.waiting),
)


class Scrape(Collector):
    """What was counted (`counted`) and what is read now, for generate_latest."""

    def __init__(self, counted: Collector, now: Now) -> None:
        self._counted, self._now = counted, now

    def collect(self) -> Iterable[Metric]:
        """Every family, those without a sample too."""
        yield from self._counted.collect()
        yield from read(self._now)


def read(now: Now) -> Iterator[Metric]:
    """The families that are read and not counted."""
    for name, said, one in ONE:
        value = one(now)
        yield _family(GaugeMetricFamily(f"funnel_{name}", said, labels=()), {} if value is None else {(): value})
    for name, said, label, parts in PARTS:
        values = {(part,): value for part, value in parts(now).items()}
        yield _family(GaugeMetricFamily(f"funnel_{name}", said, labels=(label,)), values)
    yield from _counters(now)
    yield from _durations(now)
    told = {"version": version(NAME), "storage": now.stats["storage"], "shortlist": now.shortlist["kind"]}
    told["fingerprint"] = now.service.store.space.fingerprint_id
    yield InfoMetricFamily("funnel_build", "What runs, and over which embedding space.", value=told)


def _family(family: Any, values: Mapping[Any, float]) -> Metric:
    for labels, value in values.items():
        family.add_metric(labels, value)
    found: Metric = family
    return found


def _counters(now: Now) -> Iterator[Metric]:
    said = "Requests refused before they were let in, by the problem they were told."
    refused = {(slug,): float(number) for slug, number in now.admission.refused.items()}
    yield _family(CounterMetricFamily("funnel_http_refused", said, labels=("reason",)), refused)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    faults = {("major",): float(usage.ru_majflt), ("minor",): float(usage.ru_minflt)}
    said = "Page faults of the process: major ones waited for the disk."
    yield _family(CounterMetricFamily("funnel_page_faults", said, labels=("kind",)), faults)


def _durations(now: Now) -> Iterator[Metric]:
    taken = now.service.store.durations
    commits = HistogramMetricFamily(
        "funnel_commit_seconds", "Commits, from the first statement until they were durable.", labels=()
    )
    syncs = HistogramMetricFamily(
        "funnel_fsync_seconds", "The fsyncs of commits, by file: vectors or documents.", labels=("file",)
    )
    for name, durations in taken.items():
        buckets = [("+Inf" if bound == float("inf") else str(bound), count) for bound, count in durations.cumulated()]
        family, labels = (commits, ()) if name == "commit" else (syncs, (name,))
        family.add_metric(labels, buckets, durations.seconds)
    yield from (commits, syncs)


def _in_force(stats: Mapping[str, Any]) -> bool:
    return stats["calibration"] is not None and stats["calibration"]["in_force"]


def _parts(sizes: Mapping[str, float]) -> dict[str, float]:
    return {part: size for part, size in sizes.items() if part != "total"}  # Prometheus adds them up itself


def resident() -> dict[str, float]:
    """Bytes of this process in memory by kind; empty where the system does not tell."""
    try:
        lines = STATUS.read_text("ascii").splitlines()
    except OSError:
        return {}
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {kind: float(found[name].split()[0]) * 1024 for name, kind in RESIDENT.items() if name in found}

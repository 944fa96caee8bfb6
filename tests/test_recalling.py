"""Runs of the recall measurement: one at a time, cancelled without a trace, begun by themselves, ended at the end."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from app import recalling
from app.busy import RecallBusy, ShuttingDown
from app.encoder import Encoder
from app.idle import Idle
from app.problems import Refused
from app.query_sources import QuerySources, question
from app.recall_job import Cancelled, Job
from app.recall_requests import RecallRequest
from app.recall_watch import Seen, Watch
from app.recall_work import RecallWork
from app.recalling import Recalls
from app.reservoir import Reservoir
from embedders import DIM, HashEmbedder
from index.document import Document, StoredDocument
from index.errors import FunnelError, InvalidPlan, InvalidVector
from index.rotation import QueryMap
from index.store import Store
from index_cases import FLAT, until

COUNT = 700
WORDS = [f"word{n}" for n in range(300)]


def text_of(number: int) -> str:
    """Twelve words, some of them of its neighbours'."""
    rng = np.random.default_rng(number // 7)
    return " ".join(rng.choice(WORDS, 8)) + " " + " ".join(np.random.default_rng(number).choice(WORDS, 4))


class Bench:
    """A filled store, an encoder on a running event loop, and what the live queries are."""

    def __init__(self, store: Store, encoder: Encoder | None, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self.sources = QuerySources(store, encoder, loop, Reservoir(0))
        self.work = RecallWork(store.measuring, store.count, self.sources)

    def keep(self, live: np.ndarray) -> None:
        """These are the live queries from now on."""
        self.sources._live = Reservoir(1_000)
        self.sources._live.add(live)

    def asked(self, **body: Any) -> Any:
        """The queries that a request chooses."""
        return self.sources.choose(request(**body), 0, lambda done, total: None)


def request(**body: Any) -> RecallRequest:
    """A validated body."""
    return RecallRequest.model_validate(body)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """700 documents, half of them with a title."""
    loop, embedder = asyncio.new_event_loop(), HashEmbedder()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    encoder = Encoder(embedder, 4, 4, 16)
    documents = [
        Document(f"d{n}", text_of(n), title=f"title {text_of(n)[:20]} {n}" if n % 2 else None) for n in range(COUNT)
    ]
    vectors = embedder.embed_documents([document.embedded_text for document in documents]).vectors
    with Store.open(tmp_path_factory.mktemp("recall") / "data", embedder.space, FLAT) as store:
        store.write(documents, dict(enumerate(vectors)))
        yield Bench(store, encoder, loop)
    encoder.close()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(autouse=True)
def _fresh(bench: Bench) -> Iterator[None]:
    """No calibration and no live queries from one test to the next."""
    yield
    bench.store.forget_calibration()
    bench.sources._live = Reservoir(0)


class Gated(Idle):
    """Lets work go on when `gate` is set; `waiting` is set when it does not."""

    def __init__(self) -> None:
        self.gate, self.waiting = threading.Event(), threading.Event()

    def wait(self, patience: float = 0.1) -> None:
        """At most as long as a test may take."""
        self.waiting.set()
        assert self.gate.wait(30)


@contextmanager
def runs(bench: Bench, idle: Idle | None = None, watch: Watch | None = None) -> Iterator[Recalls]:
    """Runs over the bench's store."""
    recalls = Recalls(bench.work, idle or Idle(lambda: False), watch, look=0.01)
    try:
        yield recalls
    finally:
        recalls.close()


def ended(recalls: Recalls) -> dict[str, Any]:
    """The state when nothing waits or runs any more."""
    until(lambda: recalls.status()["state"] not in ("waiting", "running"), 60)
    return recalls.status()


def test_a_run_measures_and_calibrates(bench: Bench) -> None:
    """Curve, targets on held-out queries, calibration in force; the answer names the source and its worth."""
    with runs(bench) as recalls:
        assert recalls.status()["state"] == "none"
        begun = recalls.start(request(queries=[text_of(n)[-25:] for n in range(300)], shortlists=[20, 60], seed=5))
        assert begun["state"] == "waiting"
        status = ended(recalls)
    assert (status["state"], status["id"], status["error"]) == ("done", begun["id"], None)
    result = status["result"]
    assert (result["source"], result["guaranteed"], result["seed"], result["warnings"]) == ("queries", True, 5, [])
    assert [point["stages"] for point in result["curve"]] == [[[8, 20]], [[8, 60]]]
    assert result["curve"][0]["recall"]["mean"] < result["curve"][1]["recall"]["mean"] <= 1
    assert [point["target"] for point in result["targets"]] == [0.9, 0.95, 0.98, 0.99]
    held = result["targets"][0]["queries"]
    assert held == result["queries"] // 5
    assert result["calibration"]["queries"] == result["queries"] - held
    assert bench.store.calibration is not None
    assert result["calibration"]["id"] == bench.store.calibration.calibration_id
    assert set(result["seconds"]) >= {"queries", "exact", "curve", "calibration", "targets"}


def test_few_queries_are_measured_and_not_calibrated_with(bench: Bench) -> None:
    """The answer says why, with both numbers; the same when nothing was to be calibrated."""
    with runs(bench) as recalls:
        recalls.start(request(vectors=unit_rows(30).tolist(), shortlists=[20]))
        warnings = ended(recalls)["result"]["warnings"]
        assert warnings == ["not calibrated: a calibration needs at least 100 queries, got 30"]
        recalls.start(request(source="documents", sample=40, shortlists=[20], calibrate=False))
        result = ended(recalls)["result"]
    assert (result["guaranteed"], result["calibration"], result["targets"]) == (False, None, [])
    assert "no guarantee" in result["warnings"][0]
    assert bench.store.calibration is None


def test_a_cancelled_run_changes_nothing(bench: Bench) -> None:
    """At whatever phase; the next one may begin at once."""
    for last in ("queries", "curve", "targets"):
        stopper = Stopper(last)
        with runs(bench, stopper) as recalls:
            stopper.status = recalls.status
            recalls.start(request(source="documents", sample=200, shortlists=[20]))
            stopper.until_cancelled(recalls)
            recalls.cancel()
            status = recalls.status()
            assert (status["state"], status["result"]) == ("cancelled", None)
        assert bench.store.calibration is None


def test_a_run_that_is_cancelled_at_the_last_moment_puts_nothing_in_force(bench: Bench) -> None:
    """Also when everything was measured already."""
    job = Job(request(source="documents", sample=200, shortlists=[]))
    phases: list[str] = []

    def tell(phase: str, done: int, total: int) -> None:
        if phases and (phases[-1], phase) == ("targets", "calibration"):
            job.cancelled.set()
        phases.append(phase)
        job.at(phase, done, total)

    with pytest.raises(Cancelled):
        bench.work.run(job, tell)
    assert bench.store.calibration is None


def test_nobody_is_told_that_there_is_no_calibration_while_a_run_may_make_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that does not end in time is a reason to try again; then none is made until somebody asks."""
    monkeypatch.setattr(recalling, "PATIENCE", 0.05)
    put, reached, gate = bench.store.measuring.put, threading.Event(), threading.Event()

    def slow(*given: Any) -> bool:
        reached.set()
        assert gate.wait(30)
        return put(*given)

    monkeypatch.setattr(bench.store.measuring, "put", slow)
    watch = Watch(lambda: Seen(COUNT, 1, "because"), least=COUNT, pause=0)
    with runs(bench, watch=watch) as recalls:
        assert reached.wait(60)
        with pytest.raises(RecallBusy, match=r"not ended within 0\.05 seconds"):
            recalls.decline()
        gate.set()
        monkeypatch.setattr(recalling, "PATIENCE", 30)
        recalls.decline()
        assert recalls.status()["state"] in ("done", "cancelled")
        assert watch.due() is None


@pytest.mark.parametrize("phase", ["curve", "calibration", "targets"])
def test_an_index_that_changes_during_a_run_is_not_calibrated(bench: Bench, phase: str) -> None:
    """The queries were chosen under another query map: what was learned from them would be wrong."""
    job = Job(request(source="documents", sample=200, shortlists=[20]))

    def tell(at: str, done: int, total: int) -> None:
        if at == phase and bench.store.view.query_map is None:
            bench.store.set_query_map(QueryMap(np.roll(np.eye(DIM, dtype=np.float32), 1, axis=1)))

    try:
        result = bench.work.run(job, tell)
        assert result["warnings"][-1] == "not calibrated: the index was changed meanwhile"
        assert (result["calibration"], result["targets"]) == (None, [])
        assert bench.store.calibration is None
        assert bench.store.stats()["calibration"] is None
    finally:
        bench.store.set_query_map(None)


def test_too_few_queries_end_a_run_with_both_numbers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when no document has a title or a text."""
    monkeypatch.setattr(bench.sources, "_titles", lambda *_: [])
    with runs(bench) as recalls:
        recalls.start(request(source="titles"))
        status = ended(recalls)
    assert (status["state"], status["error"]) == ("failed", "0 queries from titles, at least 20 are needed")


def test_one_run_at_a_time(bench: Bench) -> None:
    """A second is refused, by the id of the first; after a cancellation there is room again."""
    idle = Gated()
    with runs(bench, idle) as recalls:
        first = recalls.start(request(source="documents", sample=20, calibrate=False))
        assert idle.waiting.wait(10)
        with pytest.raises(RecallBusy, match=first["id"]):
            recalls.start(request())
        idle.gate.set()
        recalls.cancel()
        recalls.start(request(source="documents", sample=20, calibrate=False, shortlists=[20]))
        assert ended(recalls)["state"] == "done"


def test_what_cannot_be_is_refused_before_it_begins(bench: Bench) -> None:
    """Plans, vectors, and sources that are not there."""
    with runs(bench) as recalls:
        with pytest.raises(InvalidPlan, match="at least limit \\+ offset = 10, got 5"):
            recalls.start(request(shortlists=[5]))
        with pytest.raises(InvalidPlan, match="k must be at most 1000, got 5000"):
            recalls.start(request(k=5_000, shortlists=[], stages=[]))
        with pytest.raises(InvalidVector, match="32"):
            recalls.start(request(vectors=[[1.0] * 31] * 20))
        with pytest.raises(Refused, match="at least 200 live queries are needed, 0 were kept"):
            recalls.start(request(source="live"))
        assert recalls.status()["state"] == "none"


def test_an_unforeseen_error_ends_the_run_and_not_the_thread(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, its text is not told, and the next run works; an expected one is told."""
    sources, failing = bench.work._sources, iter([KeyError("secret"), FunnelError("the reason")])

    class Failing(QuerySources):
        def choose(self, *_: Any) -> Any:
            raise next(failing)

    broken = RecallWork(
        bench.store.measuring, bench.store.count, Failing(bench.store, None, sources._loop, Reservoir(0))
    )
    recalls = Recalls(broken, Idle(lambda: False), None, 1)
    for told in ("something went wrong", "the reason"):
        recalls.start(request(source="documents"))
        status = ended(recalls)
        assert status["state"] == "failed"
        assert told in status["error"]
    recalls.close()
    assert "KeyError" in caplog.text


def test_closing_gives_up_what_runs(bench: Bench) -> None:
    """Promptly, and nothing can begin afterwards."""
    stopper = Stopper("curve")
    with runs(bench, stopper) as recalls:
        stopper.status = recalls.status
        recalls.start(request(source="documents", sample=700))
        stopper.until_cancelled(recalls)
        assert recalls.status()["state"] == "running"
    assert recalls.status()["state"] == "cancelled"
    with pytest.raises(ShuttingDown):
        recalls.start(request())


def test_a_run_begins_by_itself_and_makes_room_for_an_asked_one(bench: Bench) -> None:
    """Once it is due; it says why."""
    idle, watch = Gated(), Watch(lambda: Seen(COUNT, 1, "there is no calibration yet"), least=100)
    with runs(bench, idle, watch) as recalls:
        assert idle.waiting.wait(10)
        assert recalls.status()["automatic"] == "there is no calibration yet"
        mine = recalls.start(request(source="documents", sample=150, shortlists=[20]))
        idle.gate.set()
        status = ended(recalls)
        assert (status["id"], status["state"], status["automatic"]) == (mine["id"], "done", None)
        assert bench.store.calibration is not None


def test_the_watch_waits_for_quiet_size_and_its_pause() -> None:
    """Nothing while writes go on, too little is there, or the last run was a moment ago; longer after failures."""
    now, seen = [0.0], [Seen(50, 1, "because")]
    watch = Watch(lambda: seen[0], least=100, pause=300, clock=lambda: now[0])
    assert watch.due() is None  # the first look
    assert watch.due() is None  # too small
    seen[0] = Seen(100, 2, "because")
    assert watch.due() is None  # just written to
    assert watch.due() == "because"
    watch.ended(calibrated=True)
    assert watch.due() is None
    now[0] += 300
    assert watch.due() == "because"
    for failures in (1, 2, 3):
        watch.ended(calibrated=False)
        now[0] += 300 * 2**failures - 1
        assert watch.due() is None
        now[0] += 1
        assert watch.due() == "because"


def test_a_look_that_fails_is_logged_and_not_the_last(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """As when the disk or the store fails for a moment: the thread still does what it is asked for."""
    looks = iter([KeyError("the disk")])

    def look() -> Seen:
        for error in looks:
            raise error
        return Seen(COUNT, 1, "because")

    with runs(bench, watch=Watch(look, least=COUNT)) as recalls:
        until(lambda: recalls.status()["automatic"] == "because")
        recalls.cancel()
    assert "KeyError" in caplog.text


def test_a_wanted_calibration_comes_first_and_after_a_no_none_at_all() -> None:
    """Until somebody asks again; and never for fewer documents than the settings say."""
    count = [150]
    watch = Watch(lambda: Seen(count[0], 1, "because"), least=100, pause=0)
    watch.due()
    watch.wanted("recall fell to 0.91")
    assert watch.due() == "recall fell to 0.91"
    count[0] = 99
    assert watch.due() is None
    count[0] = 150
    watch.declined()
    watch.wanted("recall fell to 0.91")
    assert watch.due() is None
    watch.ended(calibrated=True)  # of a run that somebody asked for
    assert watch.due() == "because"


def test_steady_writing_delays_a_calibration_by_ten_minutes() -> None:
    """It never stops in some collections; a reason that went away starts the time anew."""
    now, commits = [0.0], iter(range(1_000))
    reason: list[str | None] = ["because"]
    watch = Watch(lambda: Seen(100, next(commits), reason[0]), least=100, clock=lambda: now[0])
    for now[0], why in ((0.0, "because"), (599.0, "because"), (599.5, None), (599.9, "because"), (1_199.0, "because")):
        reason[0] = why
        assert watch.due() is None
    now[0] = 1_200.0
    assert watch.due() == "because"


def test_recall_that_falls_again_after_every_calibration_is_answered_less_and_less_often() -> None:
    """Twice the pause each time, up to a day; a day without is the end of it. Other reasons do not wait."""
    now = [0.0]
    reason: list[str | None] = [None]
    watch = Watch(lambda: Seen(100, 1, reason[0]), least=100, pause=300, clock=lambda: now[0])
    watch.due()
    for pause in (0, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800, 86_400, 86_400):
        watch.wanted("recall fell")
        if pause:
            now[0] += pause - 1
            assert watch.due() is None
            now[0] += 1
        assert watch.due() == "recall fell"
        watch.ended(calibrated=True)
    watch.wanted("recall fell")
    reason[0] = "grown"
    now[0] += 300
    assert watch.due() == "grown"
    reason[0] = None
    now[0] += 86_401
    watch.wanted("recall fell")
    assert watch.due() == "recall fell"
    watch.ended(calibrated=True)
    watch.wanted("recall fell")
    now[0] += 600
    assert watch.due() == "recall fell"


def test_given_queries_come_before_live_ones_and_those_before_titles(bench: Bench) -> None:
    """And documents last; only the first two are of the kind that will be asked."""
    bench.keep(unit_rows(250))
    assert describe(bench.asked(vectors=unit_rows(40).tolist())) == ("vectors", True, 40)
    assert describe(bench.asked(queries=WORDS[:50] * 2)) == ("queries", True, 50)
    assert describe(bench.asked(sample=220)) == ("live", True, 220)
    assert describe(bench.asked(source="titles", sample=60)) == ("titles", False, 60)
    bench.keep(unit_rows(199))
    assert describe(bench.asked(sample=60)) == ("titles", False, 60)
    documents = bench.asked(source="documents", sample=60)
    assert describe(documents) == ("documents", False, 60)
    assert documents.own_rows is not None
    np.testing.assert_array_equal(
        documents.vectors, bench.store.view.codec.decode(bench.store.view.matrix[documents.own_rows])
    )


def test_without_a_model_documents_ask_for_themselves(bench: Bench) -> None:
    """There is nothing that could embed a title."""
    sources = QuerySources(bench.store, None, bench.sources._loop, Reservoir(0))
    assert sources.choose(request(sample=30), 0, lambda *_: None).source == "documents"
    for body in ({"source": "titles"}, {"queries": WORDS[:20]}):
        with pytest.raises(Refused, match="no model"):
            sources.check(request(**body))


def test_titles_go_through_the_query_prompt_and_are_not_remembered(bench: Bench) -> None:
    """As a query would; the cache of live queries stays theirs."""
    asked = bench.asked(source="titles", sample=30)
    titles = {question(document) for document in bench.store.measuring.draw(COUNT)}
    known = HashEmbedder().embed_queries(sorted(titles))
    assert np.allclose((asked.vectors @ known.T).max(axis=1), 1, atol=1e-5)
    encoder = bench.sources._encoder
    assert encoder is not None
    assert not encoder._cache


def test_a_query_map_is_applied_as_in_searches(bench: Bench) -> None:
    """To queries, and not to stored documents."""
    rows, turn = unit_rows(20), np.roll(np.eye(DIM, dtype=np.float32), 1, axis=1)
    bench.store.set_query_map(QueryMap(turn))
    try:
        asked = bench.asked(vectors=rows.tolist())
        assert {tuple(row) for row in np.round(asked.vectors, 5)} == {tuple(row) for row in np.round(rows @ turn, 5)}
    finally:
        bench.store.set_query_map(None)


def test_a_first_sentence_stands_for_a_title() -> None:
    """Cut where a sentence or a paragraph ends, and never endless."""

    def asked(text: str, title: str | None = None) -> str:
        return question(StoredDocument(doc_id="x", text=text, title=title, metadata={}, row=0))

    assert asked("One. Two.", "Title ") == "Title"
    assert asked(" Is it? Yes.") == "Is it?"
    assert asked("a heading\n\nand more") == "a heading"
    assert asked("") == ""
    assert len(asked("x" * 5_000)) == 300


def unit_rows(count: int) -> np.ndarray:
    """(count, 32) float32 unit rows."""
    rows = np.random.default_rng(count).standard_normal((count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def describe(asked: Any) -> tuple[str, bool, int]:
    """Source, worth and number."""
    return asked.source, asked.guaranteed, len(asked.vectors)


class Stopper(Gated):
    """Holds the work up in the middle of one phase."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.phase, self.reached = phase, threading.Event()
        self.status: Any = dict

    def until_cancelled(self, recalls: Recalls) -> None:
        """Returns in that phase; the gate opens once the run is cancelled."""
        assert self.reached.wait(60)
        job = recalls._job
        assert job is not None
        threading.Thread(target=lambda: job.cancelled.wait(60) and self.gate.set()).start()

    def wait(self, patience: float = 0.1) -> None:
        """Until the gate opens, in that phase."""
        if self.status().get("phase") == self.phase:
            self.reached.set()
            assert self.gate.wait(30)

"""The page at / in a real browser."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from access_cases import FULL, KEYED, READ, bearer
from browser import Open, axe_source, launched, pages, served, violations

pytestmark = pytest.mark.long  # a browser takes seconds to start, and CI has none

WORDS = [
    *("parse", "sort", "date", "text", "list", "socket", "file", "music", "disk", "key"),
    *("tree", "graph", "image", "letter", "number", "table", "colour", "sound"),
]
REFUSED = (
    '{"id": "x", "text": 7}',
    '{"id": "y", "text": "t", "metadata": [1]}',
    '{"id": "z", "text": "t", "big": 12345678901234567890}',
)
TABLE = 'id,text,year,code\r\nr1,"a ""quoted"", long\ntext",2024,007\nr2,two\nr3,three,-1.5,x\n'
GUIDE = "# Start\n\nRun the thing.\n\n## Stop\n\nPress a key.\n\n```\n# no heading\n```\n"
HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
QUERY = "parse a date"


def documents(number: int = 400) -> list[dict[str, Any]]:
    """Texts of six words each."""
    chosen = random.Random(5)
    return [
        {
            "id": f"d{place:03}",
            "title": f"{chosen.choice(WORDS)} {place}",
            "text": " ".join(chosen.sample(WORDS, 5)) + f" w{place}",
            "metadata": {"kind": chosen.choice(["tool", "library"]), "tags": ["a", "b"][: place % 3], "size": place},
        }
        for place in range(number)
    ]


def store(url: str, *found: dict[str, Any], headers: dict[str, str] | None = None) -> None:
    assert httpx.post(f"{url}/ingest", json={"documents": list(found)}, headers=headers).status_code == 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    with pages(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[str]:
    """A service with documents, which no test changes."""
    with served(tmp_path_factory.mktemp("page")) as url:
        store(url, *documents())
        yield url


def shown(page: Any) -> list[str]:
    """The ids of the results, once there are some."""
    page.locator("#results .id").first.wait_for()
    return [str(found) for found in page.locator("#results .id").all_text_contents()]


def asked(url: str, **body: Any) -> list[str]:
    """The ids that the service answers itself."""
    return [hit["id"] for hit in httpx.post(f"{url}/search", json=body).json()["results"]]


def test_results_come_as_you_type(opened: Open, url: str) -> None:
    """The last question wins, fewer searches are sent than keys pressed, and its words are marked."""
    page, sent = opened(url), []
    page.on("request", lambda request: sent.append(request.post_data) if request.url.endswith("/search") else None)
    page.locator("#q").press_sequentially(QUERY, delay=20)
    page.locator("#found", has_text="10 results from 400 documents").wait_for()
    page.locator("#exact", has_text="found: recall").wait_for()
    assert shown(page) == asked(url, query=QUERY)
    assert 0 < len([body for body in sent if '"exact":true' not in body]) < len(QUERY) / 2
    assert {mark.lower() for mark in page.locator("#results mark").all_text_contents()} <= {"parse", "date"}
    assert page.locator("#results mark").count() > 5


def test_the_slider_widens_the_funnel(opened: Open, url: str) -> None:
    """From one end, where something is missed, to the other, where nothing is; the pictures follow."""
    page = opened(f"{url}/#q={quote(QUERY)}&mode=shortlist&shortlist=40")
    slider = page.locator("#slider")
    slider.focus()
    page.keyboard.press("Home")
    page.locator("#stages", has_text="10 in the shortlist").wait_for()
    page.locator("#exact", has_text="found: recall").wait_for()
    missed = int(page.locator("#places .missed").count())
    truth, found = asked(url, query=QUERY, exact=True), asked(url, query=QUERY, shortlist=10)
    assert missed == len(set(truth) - set(found)) > 0
    assert page.locator("#exact strong").inner_text() == f"{10 - missed} of 10"
    assert page.locator("#marks .missed").count() == missed
    assert slider.get_attribute("aria-valuetext") == "a shortlist of 10"
    page.keyboard.press("End")
    page.locator("#exact", has_text="10 of 10 found: recall 100 %").wait_for()
    assert "shortlist=400" in page.url
    assert shown(page) == truth
    assert page.evaluate("document.activeElement.id") == "slider"


def test_a_missed_result_says_how_wide_to_go(opened: Open, url: str) -> None:
    """Its button widens the shortlist just far enough."""
    page = opened(f"{url}/#q={quote(QUERY)}&mode=shortlist&shortlist=10")
    page.locator("#exact .lost li").first.wait_for()
    before = page.locator("#exact .lost li").count()
    page.locator("#exact button", has_text="Widen to").last.click()
    page.wait_for_function("before => document.querySelectorAll('#exact .lost li').length < before", arg=before)


def test_stages_target_and_exact(opened: Open, url: str) -> None:
    """Each way to choose the width changes what the service is asked, and what it says."""
    page = opened(f"{url}/#q={quote(QUERY)}")
    page.get_by_role("radio", name="Stages").check()
    page.get_by_label("Documents kept by stage 2").fill("50")
    page.get_by_label("Documents kept by stage 2").press("Enter")
    page.locator("#stages", has_text="50 kept").wait_for()
    page.get_by_role("button", name="Add a stage").click()
    page.get_by_label("Documents kept by stage 3").wait_for()
    page.get_by_role("button", name="Remove stage 3").click()
    page.get_by_role("radio", name="Target recall").check()
    page.locator("#target").wait_for()
    page.locator("#took", has_text="comparing everything").wait_for()
    page.get_by_role("radio", name="Exact").check()
    page.locator("#found", has_text="· exact").wait_for()
    page.locator("#exact", has_text="This is the exact answer").wait_for()
    assert "mode=exact" in page.url
    page.go_back()
    page.locator("#took", has_text="comparing everything").wait_for()


def fits(document: dict[str, Any]) -> bool:
    """Whether a document is a tool and among the first 300."""
    return document["metadata"]["kind"] == "tool" and document["metadata"]["size"] < 300


def test_metadata_becomes_a_filter_and_a_link_keeps_it(opened: Open, url: str) -> None:
    """A click narrows, the address brings the same back elsewhere, Back undoes it."""
    page = opened(f"{url}/#q={quote(QUERY)}")
    page.get_by_role("button", name="Filter by kind: tool").first.click()
    page.get_by_role("button", name="Remove the filter kind: tool").wait_for()
    page.locator("#stages", has_text="pass the filter").wait_for()
    page.get_by_text("and …").click()
    page.locator("#condition").fill('{"size": {"$lt": 300}}')
    page.locator("#condition").press("Enter")
    narrowed = {"$and": [{"kind": "tool"}, {"size": {"$lt": 300}}]}
    page.get_by_role("button", name="Remove the filter {").wait_for()
    expected = asked(url, query=QUERY, filter=narrowed)
    page.locator("#stages", has_text=f"{len([one for one in documents() if fits(one)])} documents pass").wait_for()
    assert shown(page) == expected
    again = opened(page.url)
    again.locator("#stages", has_text="pass the filter").wait_for()
    assert shown(again) == expected
    page.get_by_role("button", name="Remove the filter kind: tool").click()
    page.get_by_role("button", name="Remove the filter kind: tool").wait_for(state="detached")
    page.go_back()
    page.get_by_role("button", name="Remove the filter kind: tool").wait_for()


def test_what_is_wrong_is_said(opened: Open, url: str) -> None:
    """Both numbers of a funnel that cannot be, a filter that is no JSON, an operator that is none, no service."""
    page = opened(f"{url}/#q={quote(QUERY)}&mode=shortlist&shortlist=3")
    problem = page.locator("#problem")
    page.locator("#problem", has_text="must be at least limit + offset = 10, got 3").wait_for()
    page.locator("#length").fill("30")
    page.locator("#length").press("Enter")
    problem.wait_for(state="hidden")
    page.get_by_text("Filter", exact=True).click()
    page.locator("#condition").fill("{kind")
    page.locator("#condition").press("Enter")
    page.locator("#problem", has_text="The filter is not JSON").wait_for()
    page.locator("#condition").fill('{"kind": {"$near": 1}}')
    page.locator("#condition").press("Enter")
    page.locator("#problem", has_text="$near").wait_for()
    page.go_back()
    shown(page)
    page.route("**/search", lambda route: route.abort())
    page.locator("#q").fill("sort")
    page.locator("#problem", has_text="does not answer").wait_for()


def test_files_are_stored_while_you_watch(opened: Open, tmp_path: Path) -> None:
    """JSONL with a line that is none, CSV, Markdown, dropped and chosen; what is counted can be read at once."""
    with served(tmp_path / "s") as url:
        lines = [json.dumps(document) for document in documents(250)]
        (tmp_path / "notes.jsonl").write_text("\n".join([*lines[:9], "{broken", *lines[9:], *REFUSED]))
        (tmp_path / "table.csv").write_text(TABLE)
        (tmp_path / "guide.md").write_text(GUIDE)
        page = opened(url)
        page.get_by_role("button", name="Choose a file").wait_for()
        page.get_by_role("link", name="Add").click()
        page.locator("#file").set_input_files([tmp_path / name for name in ("notes.jsonl", "table.csv", "guide.md")])
        notes, table, guide = (page.locator("#files > li").nth(place) for place in range(3))
        page.locator("#files > li:nth-child(3)", has_text="All of it can be searched").wait_for()
        assert "250 documents safely on disk: 250 new, 4 refused" in notes.inner_text()
        assert "2 documents safely on disk: 2 new, 1 refused" in table.inner_text()
        notes.locator("summary").click()
        assert "12345678901234567890 is too long for a browser" in notes.inner_text()
        table.locator("summary").click()
        assert notes.locator("details li").all_inner_texts()[0].startswith("line 10: ")
        assert "line 4: expected 4 columns, got 2" in table.inner_text()
        read = httpx.get(f"{url}/documents/r1").json()
        assert read["text"] == 'a "quoted", long\ntext'
        assert read["metadata"] == {"year": 2024, "code": "007"}
        assert httpx.get(f"{url}/documents/r3").json()["metadata"] == {"year": -1.5, "code": "x"}
        assert httpx.get(f"{url}/documents/guide.md%231").json()["title"] == "Start"
        assert "2 documents safely on disk: 2 new. All" in guide.inner_text()
        drop(page, "more.txt", "One passage.\n\nAnother one of many words about music.")
        page.locator("#files > li:nth-child(4)", has_text="1 document safely on disk: 1 new. All of it").wait_for()
        drop(page, "again.bin", "x")
        page.locator("#files > li:nth-child(5)", has_text=".bin is no kind of file").wait_for()
        page.locator(".brand").click()
        page.locator("#q").fill("more.txt: another one of many words about music, one passage")
        page.locator("#results", has_text="more.txt").wait_for()


def drop(page: Any, name: str, text: str) -> None:
    """Let a file fall on the page."""
    page.evaluate(
        """([name, text]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], name));
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
        }""",
        [name, text],
    )


def test_a_key_is_asked_for_and_stays_in_the_tab(opened: Open, tmp_path: Path) -> None:
    """A wrong one is refused, the right one is kept for the session alone, and one that may only read cannot delete."""
    with served(tmp_path, **KEYED) as url:
        store(url, *documents(20), headers=bearer(FULL))
        page = opened(f"{url}/#q=sort")
        dialog = page.locator("#key")
        dialog.wait_for()
        page.locator("#key-field").fill("not-the-right-key-at-all")
        page.locator("#key-field").press("Enter")
        page.locator("#key", has_text="the key is not known here").wait_for()
        page.locator("#key-field").fill(READ)
        page.locator("#key-field").press("Enter")
        assert len(shown(page)) == 10
        assert page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
        assert READ not in page.url
        page.reload()
        shown(page)
        page.locator("#results .open").first.click()
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("button", name="Delete for good").click()
        page.locator("#problem", has_text="this needs the right full").wait_for()
        page.get_by_role("button", name="API key: one is in use").click()
        page.get_by_role("button", name="Forget it").click()
        page.locator("#key", has_text="send a key").wait_for()


def test_documents_are_browsed_and_deleted(opened: Open, tmp_path: Path) -> None:
    """Page by page, by id, and one of them goes for good."""
    with served(tmp_path) as url:
        store(url, *documents(30), {"id": "a/b?c#d%", "text": "an id that looks like an address"})
        page = opened(f"{url}/#view=documents")
        page.locator("#browse", has_text="31 documents").wait_for()
        page.get_by_role("button", name="Show more").click()
        page.wait_for_function("document.querySelectorAll('#browse .items li').length === 31")
        page.locator("#by-id").fill("a/b?c#d%")
        page.locator("#by-id").press("Enter")
        page.locator("#document", has_text="an id that looks like an address").wait_for()
        page.get_by_role("button", name="Delete", exact=True).click()
        assert page.evaluate("document.activeElement.textContent") == "Keep it"
        page.get_by_role("button", name="Delete for good").click()
        page.locator("#said", has_text="Deleted: a/b?c#d%").wait_for()
        page.locator("#browse", has_text="30 documents").wait_for()
        assert httpx.post(f"{url}/documents/count", json={}).json() == {"count": 30}
        page.locator("#by-id").fill("nothing")
        page.locator("#by-id").press("Enter")
        page.locator("#problem", has_text="nothing").wait_for()
        page.goto(f"{url}/#q=sort")
        first = shown(page)[0]
        page.locator("#results .open").first.click()
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("button", name="Delete for good").click()
        page.locator("#said", has_text=f"Deleted: {first}").wait_for()
        assert first not in shown(page)
        assert httpx.get(f"{url}/documents/{first}").status_code == 404


def test_the_keyboard_is_enough(opened: Open, url: str) -> None:
    """Skip the header, search, walk the results, open one, come back, choose a width: the focus is never lost."""
    page = opened(url)
    page.locator("#welcome button").first.wait_for()
    focus = "document.activeElement.id || document.activeElement.className || document.activeElement.value"
    page.keyboard.press("Tab")
    assert page.evaluate(focus) == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate(focus) == "main"
    page.keyboard.press("/")
    assert page.evaluate(focus) == "q"
    page.keyboard.type(QUERY)
    page.locator("#exact", has_text="found: recall").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.evaluate("document.activeElement.textContent")
    assert chosen == page.locator("#results .open").nth(1).inner_text()
    page.keyboard.press("Enter")
    page.locator("#document[open]").wait_for()
    assert page.evaluate("document.activeElement.id") == "document-title"
    page.keyboard.press("Escape")
    page.locator("#document").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.textContent") == chosen
    page.locator("[name=mode]:checked").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#slider").wait_for()
    assert page.evaluate("document.activeElement.value") == "shortlist"
    page.keyboard.press("ArrowRight")
    page.locator("#target").wait_for()
    assert page.evaluate("document.activeElement.value") == "target"
    chip = page.get_by_role("button", name="Filter by kind: tool").first
    chip.focus()
    page.keyboard.press("Enter")
    page.locator("#stages", has_text="pass the filter").wait_for()
    assert page.evaluate("document.activeElement.id") == "found"
    page.get_by_role("button", name="Remove the filter kind: tool").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "found"


def test_a_hostile_document_stays_a_text(opened: Open, tmp_path: Path) -> None:
    """Markup in its id, title, text and metadata is shown as it is, everywhere."""
    with served(tmp_path) as url:
        metadata = {HOSTILE: HOSTILE, "__proto__x": {"constructor": HOSTILE}, "list": [HOSTILE, None, {"a": [HOSTILE]}]}
        store(
            url,
            {"id": HOSTILE, "title": HOSTILE, "text": f"sort {HOSTILE} \u202e\u0000", "metadata": metadata},
            *documents(30),
        )
        page = opened(f"{url}/#q=sort+onerror+hurt&where={quote(json.dumps({HOSTILE: HOSTILE}))}")
        assert shown(page) == [HOSTILE[:59] + "…"]
        page.locator("#places text", has_text="<img").wait_for()
        page.locator("#results .open").first.click()
        page.locator("#document", has_text=HOSTILE).wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="More like this").click()
        page.locator("#found", has_text=f"Like {HOSTILE}").wait_for()
        page.goto(f"{url}/#view=documents")
        page.locator("#browse", has_text=HOSTILE[:40]).wait_for()
        drop(page, f"{HOSTILE}.txt".replace("/", ""), HOSTILE)
        page.locator("#files", has_text="<img src=x").wait_for()
        assert page.evaluate("window.hurt") is None
        assert page.locator("main img, main script, dialog img, dialog script").count() == 0


def test_status_tells_and_measures(opened: Open, url: str) -> None:
    """Counts and parts, and a run of recall whose curve then carries the point of an answer."""
    page = opened(f"{url}/#view=status")
    page.locator(".cards", has_text="400").wait_for()
    fingerprint = httpx.get(f"{url}/info").json()["fingerprint"]
    page.locator(".facts-of", has_text=fingerprint).wait_for()
    page.get_by_role("button", name="Measure recall now").click()
    page.locator("#measuring .curve").wait_for(timeout=60_000)
    page.goto(f"{url}/#q={quote(QUERY)}&mode=shortlist&shortlist=100")
    page.locator("#curve", has_text="100 full vectors compared").wait_for()
    assert page.locator("#curve .now").count() == 1


def test_a_service_without_a_model_says_so(opened: Open, tmp_path: Path) -> None:
    """There is no question to ask by words, but documents to look at."""
    with served(tmp_path, model="none", dim=8) as url:
        vectors = [[float(place == one) + 0.1 for place in range(8)] for one in range(8)]
        store(url, *({"id": f"v{place}", "vector": vector} for place, vector in enumerate(vectors)))
        page = opened(url)
        page.locator("#welcome", has_text="This service has no model").wait_for()
        page.get_by_role("button", name="Browse documents").click()
        page.locator("#browse .open").first.click()
        page.get_by_role("button", name="More like this").click()
        assert len(shown(page)) == 7


STATES = {
    "welcome": "",
    "search": f"q={quote(QUERY)}",
    "shortlist": f"q={quote(QUERY)}&mode=shortlist&shortlist=10&where=%7B%22kind%22:%22tool%22%7D",
    "stages": f"q={quote(QUERY)}&mode=stages&stages=8x100,16x30",
    "target": f"q={quote(QUERY)}&mode=target&target=0.9",
    "error": f"q={quote(QUERY)}&mode=shortlist&shortlist=2",
    "documents": "view=documents",
    "document": "view=documents&doc=d001",
    "add": "view=add",
    "status": "view=status",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_every_state_is_accessible(opened: Open, url: str, state: str, scheme: str) -> None:
    """axe-core finds nothing, on a desk and on a phone, where nothing is wider than the screen."""
    axe = axe_source()
    for width in (1280, 360):
        page = opened(f"{url}/#{STATES[state]}", viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(200)
        assert violations(page, axe) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not re.search("NaN|undefined|Infinity|null", page.locator("body").inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dialogs_and_uploads_are_accessible(opened: Open, tmp_path: Path, scheme: str) -> None:
    """The key's, with a refusal, the one that asks before a document goes, and files that failed in part."""
    axe = axe_source()
    with served(tmp_path, **KEYED) as url:
        store(url, *documents(3), headers=bearer(FULL))
        page = opened(f"{url}/#view=documents&doc=d001", color_scheme=scheme)
        page.locator("#key", has_text="send a key").wait_for()
        assert violations(page, axe) == []
        page.locator("#key-field").fill(FULL)
        page.locator("#key-field").press("Enter")
        page.locator("#browse .open").first.click()
        page.get_by_role("button", name="Delete", exact=True).click()
        assert violations(page, axe) == []
        page.keyboard.press("Escape")
        drop(page, "notes.jsonl", '{"id": "new", "text": "t"}\n{broken\n')
        page.locator("#files summary").click()
        assert violations(page, axe) == []


def test_an_empty_collection_offers_a_beginning(opened: Open, tmp_path: Path) -> None:
    """A file to drop, a line for the shell, and nothing that axe-core objects to."""
    with served(tmp_path) as url:
        page = opened(url)
        page.locator("#welcome", has_text="funnel ingest notes.jsonl").wait_for()
        assert violations(page, axe_source()) == []
        page.get_by_role("button", name="Choose a file").click()
        assert page.evaluate("document.activeElement.id") == "file"

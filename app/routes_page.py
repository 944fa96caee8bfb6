"""/: the page for people. It is made of our own files and asks the interface that everybody else asks."""

from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)
FOLDER = files("app") / "static" / "page"


@router.get("/")
async def page() -> HTMLResponse:
    """Search, documents, ingest and status; what it shows stands in the fragment of its address."""
    return HTMLResponse((FOLDER / "index.html").read_text(encoding="utf-8"))


def mount(app: FastAPI) -> None:
    """Serve the files that the page needs."""
    app.mount("/page", StaticFiles(directory=str(FOLDER)), name="page")

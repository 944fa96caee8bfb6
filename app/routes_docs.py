"""/docs: Swagger UI from our own files; nothing is fetched from outside."""

from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)
FOLDER = files("app") / "static" / "swagger"


@router.get("/docs")
async def docs() -> HTMLResponse:
    """The interface, to read and to try."""
    return HTMLResponse((FOLDER / "index.html").read_text(encoding="utf-8"))


def mount(app: FastAPI) -> None:
    """Serve the files that the page needs."""
    app.mount("/docs", StaticFiles(directory=str(FOLDER)), name="docs")

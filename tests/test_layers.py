"""Imports point one way, and importing does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = {path.stem: path for path in sorted((ROOT / "index").glob("*.py"))}
ALLOWED = {"faiss", "numpy", "index"} | set(sys.stdlib_module_names)
WORKERS = {"learning": {"sklearn"}}  # fits models in the background; a search needs none of it
CALLS_AT_IMPORT = {
    "TypeVar",
    "dataclass",
    "getLogger",
    "StoreOptions",
    "CDLL",
    "JSONEncoder",
    "PyDLL",
    "POINTER",
    "Struct",
    "field",
    "cached_property",
    "index",
}


def imports(path: Path) -> set[str]:
    """Every dotted name that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def siblings(path: Path) -> set[str]:
    """Modules of the index that a file imports."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith("index.")}
    return names & MODULES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_the_index_needs_numpy_and_faiss_alone(name: str) -> None:
    """Not app, FastAPI, Starlette, torch or sentence-transformers, nor anything else installed."""
    assert {imported.split(".")[0] for imported in imports(MODULES[name])} <= ALLOWED | WORKERS.get(name, set())


def test_there_is_no_cycle() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    left = {name: siblings(path) - {name} for name, path in MODULES.items()}
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"these import each other: {left}"


@pytest.mark.parametrize("name", MODULES)
def test_importing_does_no_work(name: str) -> None:
    """At the top of a module there are definitions and constants: no loops, no calls but of names that are known."""
    for node in ast.parse(MODULES[name].read_text()).body:
        assert not isinstance(node, ast.For | ast.While | ast.With | ast.Try | ast.If), ast.unparse(node)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) and node.value is not None:
            called = {ast.unparse(c.func).split(".")[-1] for c in ast.walk(node.value) if isinstance(c, ast.Call)}
            assert called <= CALLS_AT_IMPORT | {"bytes"}, ast.unparse(node)


def test_the_store_can_be_imported_without_the_app() -> None:
    """In a fresh interpreter, none of the heavy packages is loaded."""
    heavy = "{'app', 'fastapi', 'starlette', 'torch', 'sentence_transformers', 'transformers', 'pydantic', 'sklearn'}"
    code = f"import sys, index.store, index.reindex, index.verify; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_files_stay_small(name: str) -> None:
    """Under 250 lines, each with a docstring that says what it is."""
    source = MODULES[name].read_text()
    assert source.count("\n") < 250
    assert ast.get_docstring(ast.parse(source))

"""Nothing that the service reads can run: no pickle, no code of models, no file of FAISS that is not ours."""

import ast
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from app.compose import load_folder
from app.embedder import ModelError, load_embedder
from app.settings import Settings
from app.train_model import open_base
from app.train_settings import TrainError
from index import graph
from index.coding import load_older
from index.errors import StoreCorrupt
from index.graph import Graph
from tiny_models import save_model

ROOT = Path(__file__).parent.parent
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "runpy", "code"}
IMPORTS = {"__import__", "import_module", "importlib.import_module"}
CALLS = {"eval", "exec", "compile", "torch.load", "yaml.load", "pd.read_pickle"}
CALLS |= {"faiss.read_index", "os.system", "os.popen"}
KNOWN = {
    ("coding.py", "faiss.read_index"),  # behind a checksum: see the tests below
    ("foreign_faiss.py", "faiss.read_index"),  # in a command, of a file that its user names and is told to trust
    ("benchmark_faiss.py", "faiss.read_index"),  # which it has just written
    ("extras.py", "import_module"),  # of names that stand in our own code
}
BAD = ("import pickle", "from joblib import load", "eval(x)", "np.load(f)", "torch.load(f)", "run(c, shell=True)")
MARKED: list[str] = []  # who ran as code


class Marks:
    """A pickle that says so when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return ran, ("a pickle ran",)


def ran(text: str) -> None:
    """What the pickle calls."""
    MARKED.append(text)


def faults(path: Path) -> Iterator[str]:
    """Lines of a file that could turn data into code: a module that does, a call that does, a shell, a numpy that is
    not told to leave pickles alone."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            bad = bool({name.split(".")[0] for name in names} & MODULES)
        else:
            bad = isinstance(node, ast.Call) and dangerous(path, node)
        if bad:
            yield f"{path.parent.name}/{path.name}: {ast.unparse(node)}"


def dangerous(path: Path, call: ast.Call) -> bool:
    """Whether a call could."""
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in IMPORTS and path.parent.name == "scripts":
        return False  # of names that stand in the script
    return (
        (name in CALLS | IMPORTS and (path.name, name) not in KNOWN)
        or (name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False")
        or given.get("shell") not in (None, "False")
        or given.get("trust_remote_code") not in (None, "settings.trust_remote_code")
    )


@pytest.mark.parametrize("part", ["app", "index", "scripts"])
def test_no_source_turns_data_into_code(part: str) -> None:
    """Not one line of it."""
    files = sorted((ROOT / part).rglob("*.py"))
    assert len(files) > 20
    assert [fault for path in files for fault in faults(path)] == []


@pytest.mark.parametrize("line", BAD)
def test_the_search_for_such_lines_finds_them(tmp_path: Path, line: str) -> None:
    """What the test above looks for, it sees."""
    (tmp_path / "bad.py").write_text(f"def f():\n    {line}\n", "utf-8")
    assert len(list(faults(tmp_path / "bad.py"))) == 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a dense layer of sentence-transformers' own, saved with safetensors."""
    folder = tmp_path_factory.mktemp("models") / "model"
    made = SentenceTransformer(str(save_model(folder.parent / "base", 16)), device="cpu")
    made.append(Dense(16, 16))
    made.save(str(folder), create_model_card=False)
    return folder


def pickled(model: Path, part: str, target: Path) -> Path:
    """The model with the weights of one part as a pickle that marks whoever reads it."""
    folder = shutil.copytree(model, target)
    weights = load_file(folder / part / "model.safetensors")
    (folder / part / "model.safetensors").unlink()
    torch.save({**weights, "extra": Marks()}, folder / part / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("part", ["", "3_Dense"], ids=["body", "dense"])
def test_weights_that_are_pickles_are_refused(model: Path, tmp_path: Path, part: str) -> None:
    """Of the network as of a module of sentence-transformers, to serve and to train; nothing of them is run."""
    folder = pickled(model, part, tmp_path / "pickled")
    with pytest.raises(ModelError, match=r"save\(folder\) in sentence-transformers writes safetensors"):
        load_embedder(Settings(model=str(folder), device="cpu", _env_file=None))
    with pytest.raises(TrainError, match=r"save\(folder\) in sentence-transformers writes safetensors"):
        open_base(str(folder), "cpu")
    assert MARKED == []
    with pytest.raises(ValueError, match=r"save\(folder\) in sentence-transformers writes safetensors"):
        load_folder(str(folder), device="cpu")


def test_the_pickle_of_these_tests_would_run(tmp_path: Path) -> None:
    """Otherwise the test above could not fail; and afterwards torch reads what it read before."""
    torch.save({"extra": Marks()}, tmp_path / "weights.bin")
    torch.load(tmp_path / "weights.bin", weights_only=False)
    assert MARKED.pop() == "a pickle ran"
    assert pickle.loads(pickle.dumps(1)) == 1


def test_safetensors_are_served(model: Path) -> None:
    """The same model as it was saved."""
    embedder = load_embedder(Settings(model=str(model), device="cpu", allow_untrained_prefix=True, _env_file=None))
    assert embedder is not None
    assert embedder.embed_documents(["parse a date"]).vectors.shape == (1, 16)


@pytest.mark.parametrize("module", ["evil.Module", "json.JSONDecoder", "modeling.Module", "os.system"])
def test_a_model_brings_no_code(model: Path, tmp_path: Path, module: str) -> None:
    """A class that is not sentence-transformers' own is not even imported, from its folder or from anywhere."""
    folder = shutil.copytree(model, tmp_path / "code")
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    modules[-1]["type"] = module
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    for place in (folder / "modeling.py", folder / "3_Dense" / "modeling.py", folder / "evil.py"):
        place.write_text("raise SystemExit('code of the model ran')\n", "utf-8")
    with pytest.raises(ModelError, match="FUNNEL_TRUST_REMOTE_CODE"):
        load_embedder(Settings(model=str(folder), device="cpu", _env_file=None))


def test_a_config_names_no_code(model: Path, tmp_path: Path) -> None:
    """`auto_map` of transformers, and an activation function that is none."""
    folder = shutil.copytree(model, tmp_path / "mapped")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"model_type": "unheard-of", "auto_map": {"AutoModel": "modeling.M", "AutoConfig": "modeling.C"}}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "modeling.py").write_text("raise SystemExit('code of the model ran')\n", "utf-8")
    with pytest.raises(ModelError):
        load_embedder(Settings(model=str(folder), device="cpu", _env_file=None))


def test_trust_is_off_and_its_use_is_said() -> None:
    """By default, and in the log of a service that has it."""
    assert Settings(_env_file=None).trust_remote_code is False


def test_faiss_sees_no_file_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checksum is compared before the first byte is parsed: crafted files can take all memory."""
    seen: list[str] = []
    read = graph.faiss.read_index
    monkeypatch.setattr(graph.faiss, "read_index", lambda path: seen.append(path) or read(path))
    path = tmp_path / "graph.faiss"
    checksum = Graph.empty(np.eye(8, dtype=np.float32), "float32").save(path)
    assert load_older(path, checksum).dim == 8
    assert len(seen) == 1
    path.write_bytes(path.read_bytes()[:8] + b"\xff" * 4_000)
    with pytest.raises(StoreCorrupt, match="does not match its checksum"):
        load_older(path, checksum)
    assert len(seen) == 1


def test_importing_the_service_reads_no_pickle() -> None:
    """Neither at import nor at the start without a model is anything unpickled."""
    code = (
        "import sys, pickle, _pickle\n"
        "def refuse(*a, **k): raise SystemExit('a pickle was read')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "from app.main import create_app\nfrom app.settings import Settings\n"
        "create_app(Settings(_env_file=None, model='none', dim=4))\nprint('made')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "made", done.stderr[-500:]

"""Any sentence-transformers model as an embedder: widths, prompts, truncation, identity, refusals."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from app.embedder import Embedder, ModelError, load_embedder
from app.model import layer_norm
from app.settings import Settings
from tests.tiny_models import MAX_TOKENS, save_model, save_static

CARD = 'Loss: MatryoshkaLoss\n```json\n{\n "matryoshka_dims": [\n 128,\n 64,\n 32\n ]\n}\n```\n'


def load(folder: Path, **settings: object) -> Embedder:
    """The embedder of a folder, on the CPU."""
    embedder = load_embedder(Settings(model=str(folder), device="cpu", **settings))
    assert embedder is not None
    return embedder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says nothing about Matryoshka widths or prompts."""
    return save_model(tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with prompts and trained widths in its config."""
    prompts = {"query": "query : ", "passage": "document : "}
    return save_model(
        tmp_path_factory.mktemp("trained") / "model", prompts=prompts, matryoshka_dimensions=[128, 64, 32]
    )


def test_no_model_is_no_embedder() -> None:
    """FUNNEL_MODEL=none loads nothing."""
    assert load_embedder(Settings(model="none")) is None


def test_widths_are_read_from_the_config(trained: Path) -> None:
    """A `matryoshka_dimensions` entry gives the trained widths and the prefix."""
    embedder = load(trained)
    assert embedder.matryoshka_dims == (128, 64, 32)
    assert (embedder.space.dim, embedder.space.prefix_dim, embedder.space.exact_only) == (128, 64, False)


def test_widths_are_read_from_a_generated_model_card(tmp_path: Path) -> None:
    """The training section that sentence-transformers writes into a model card names the widths."""
    assert load(save_model(tmp_path / "model", card=CARD)).matryoshka_dims == (128, 64, 32)


def test_a_model_without_known_widths_is_exact(plain: Path) -> None:
    """It serves, searches exactly, and says why."""
    embedder = load(plain)
    assert embedder.space.exact_only
    assert embedder.notice is not None


def test_vectors_are_unit_rows_of_the_model_itself(plain: Path) -> None:
    """The embedder changes nothing about a model that normalises its own output."""
    texts = ["parse a date", "open file", "sort"]
    embedded = load(plain).embed_documents(texts)
    assert embedded.vectors.dtype == np.float32
    assert embedded.vectors == pytest.approx(SentenceTransformer(str(plain), device="cpu").encode(texts), abs=1e-6)
    assert np.linalg.norm(embedded.vectors, axis=1) == pytest.approx(1.0, abs=1e-6)


def test_nothing_in_gives_nothing_out(plain: Path) -> None:
    """No texts are no vectors of the right width."""
    assert load(plain).embed_documents([]).vectors.shape == (0, 128)


def test_a_narrower_vector_is_cut_and_normalised_again(trained: Path) -> None:
    """FUNNEL_DIM=64 gives the first 64 numbers with length one."""
    full, cut = load(trained).embed_queries(["tree"])[0, :64], load(trained, dim=64).embed_queries(["tree"])[0]
    assert cut == pytest.approx(full / np.linalg.norm(full), abs=1e-6)


def test_an_untrained_prefix_is_refused_with_the_numbers(trained: Path) -> None:
    """A width between or below the trained ones needs to be insisted on."""
    with pytest.raises(ModelError, match=r"FUNNEL_PREFIX_DIM=48.*128, 64, 32"):
        load(trained, prefix_dim=48)
    assert load(trained, prefix_dim=48, allow_untrained_prefix=True).space.prefix_dim == 48


def test_truncated_texts_are_named(plain: Path) -> None:
    """Ten words fit, eleven do not, whatever the order and the neighbours."""
    embedded = load(plain).embed_documents(["date " * 11, "date", "date " * 10, "a " * 500])
    assert embedded.truncated.tolist() == [True, False, False, True]


def test_a_prompt_counts_against_the_token_limit(trained: Path) -> None:
    """Ten words and a document prompt are too long together."""
    assert load(trained).embed_documents(["date " * 10, "date " * 8]).truncated.tolist() == [True, False]


def test_prompts_are_put_before_queries_and_documents(trained: Path) -> None:
    """Queries get the query prompt; documents get the prompt that the model calls passage."""
    embedder, bare = load(trained), SentenceTransformer(str(trained), device="cpu")
    expected = bare.encode(["query : tree", "document : tree"], prompt="")
    assert embedder.embed_queries(["tree"])[0] == pytest.approx(expected[0], abs=1e-6)
    assert embedder.embed_documents(["tree"]).vectors[0] == pytest.approx(expected[1], abs=1e-6)
    assert embedder.space.fingerprint["query_prompt"] == "query : "


def test_a_known_model_gets_its_recipe(tmp_path: Path) -> None:
    """A folder named after nomic's model: its prompts, and layer norm before truncation and normalisation."""
    folder = save_model(tmp_path / "nomic-embed-text-v1.5")
    embedder = load(folder, dim=64, prefix_dim=64)
    raw = SentenceTransformer(str(folder), device="cpu").encode(["search_query: tree"])
    expected = ((raw - raw.mean()) / raw.std())[:, :64]
    assert embedder.embed_queries(["tree"]) == pytest.approx(expected / np.linalg.norm(expected), abs=1e-4)
    assert "layer_norm" in str(embedder.space.fingerprint["normalisation"])


def test_tokens_are_counted_as_the_model_reads_them(trained: Path, tmp_path: Path) -> None:
    """With its prompt and marks, cut where it cuts; a table of words has no marks."""
    embedder = load(trained)
    assert embedder.count_tokens(["sort a list"], "document") == 2 + 2 + 3  # [CLS] document : sort a list [SEP]
    assert embedder.count_tokens(["sort a list", "open " * 50], "query") == 2 + 2 + 3 + MAX_TOKENS
    assert load(save_static(tmp_path / "static")).count_tokens(["sort a list", "open"], "query") == 4


def test_layer_norm_gives_mean_0_and_variance_1() -> None:
    """Every row on its own."""
    rows = layer_norm(np.random.default_rng(0).normal(3, 7, (4, 64)))
    assert rows.mean(axis=1) == pytest.approx(0, abs=1e-6)
    assert rows.var(axis=1) == pytest.approx(1, abs=1e-4)


def test_the_same_weights_elsewhere_have_the_same_fingerprint(plain: Path, tmp_path: Path) -> None:
    """A copied folder is the same model; other weights are not."""
    copied = shutil.copytree(plain, tmp_path / "elsewhere")
    other = save_model(tmp_path / "other", seed=1)
    assert load(copied).space == load(plain).space
    assert load(other).space.fingerprint_id != load(plain).space.fingerprint_id


def test_prompts_and_width_are_part_of_the_fingerprint(plain: Path, trained: Path) -> None:
    """Spaces that differ in what is put before a text, or in width, are different spaces."""
    assert load(trained, dim=64).space.fingerprint_id != load(trained).space.fingerprint_id
    assert load(trained).space.fingerprint_id != load(plain).space.fingerprint_id


@pytest.mark.parametrize("name", ["./no/such/folder", "nobody/nothing-here"])
def test_a_model_that_is_not_there_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the setting and the ways out."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"FUNNEL_MODEL=.*HF_HOME.*FUNNEL_MODEL=bundled"):
        load_embedder(Settings(model=name))


def test_a_folder_that_is_no_model_says_what_to_do(tmp_path: Path) -> None:
    """An empty folder is refused like a missing one."""
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_embedder(Settings(model=str(tmp_path)))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"no tensors"),
        ("config.json", b"[]"),
        ("config.json", b"{"),
        ("modules.json", b"{}"),
        ("modules.json", b'[{"path": ""}]'),
        ("modules.json", b"\xff"),
        ("1_Pooling/config.json", b"3"),
        ("config_sentence_transformers.json", b'"x"'),
        ("tokenizer.json", b"{}"),
    ],
)
def test_a_damaged_folder_says_what_to_do(plain: Path, tmp_path: Path, file: str, content: bytes) -> None:
    """Whichever file is broken, the error is a ModelError that names the folder."""
    folder = shutil.copytree(plain, tmp_path / "damaged")
    assert (folder / file).exists()
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged cannot be loaded"):
        load(folder)


@pytest.mark.parametrize("stated", [["a"], [None], {"a": 1}, 64])
def test_widths_that_are_no_numbers_say_what_to_do(plain: Path, tmp_path: Path, stated: object) -> None:
    """A config whose `matryoshka_dimensions` cannot be read is a damaged one, never a traceback."""
    folder = shutil.copytree(plain, tmp_path / "damaged")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"matryoshka_dimensions": stated}))
    with pytest.raises(ModelError, match=r"damaged cannot be loaded"):
        load(folder)


def test_a_folder_without_a_config_of_its_own_is_served(tmp_path: Path) -> None:
    """A saved StaticEmbedding model, which has no transformer inside, loads and embeds."""
    embedder = load(save_static(tmp_path / "static"))
    assert embedder.space.dim == 32
    vectors = embedder.embed_documents(["parse a date", "open file"]).vectors
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert embedder.embed_queries(["parse a date"])[0] == pytest.approx(vectors[0], abs=1e-6)


@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json"])
def test_our_module_in_a_folder_gives_no_trust_to_its_code(plain: Path, tmp_path: Path, place: str) -> None:
    """A folder that names our module and brings code of its own: the code is never run."""
    folder = shutil.copytree(plain, tmp_path / "crafted")
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_LexicalConcat", "type": "app.lexical.LexicalConcat"})
    (folder / "modules.json").write_text(json.dumps(modules))
    ran = tmp_path / "ran"
    (folder / "crafted.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Crafted: pass\n")
    config = json.loads((folder / place).read_text()) | {"model_type": "crafted", "tokenizer_class": "Crafted"}
    names = {"AutoConfig": "crafted.Crafted", "AutoTokenizer": ["crafted.Crafted", "crafted.Crafted"]}
    (folder / place).write_text(json.dumps(config | {"auto_map": names}))
    with pytest.raises(ModelError):
        load(folder)
    assert not ran.exists()


def test_queries_and_documents_run_at_the_same_time(plain: Path) -> None:
    """Two threads over many batches give the vectors that one thread gives, and no error."""
    embedder = load(plain)
    texts = [f"parse {'date ' * (i % 9)} file" for i in range(64)]
    expected = embedder.embed_queries(texts)
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: results.extend(embedder.embed_queries(texts) for _ in range(15))),
        threading.Thread(target=lambda: results.extend(embedder.embed_documents(texts).vectors for _ in range(15))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 30
    assert all(found == pytest.approx(expected, abs=1e-5) for found in results)

"""The bundled model itself: its files, its head, what it finds, and that it is an ordinary sentence-transformer."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from app.bundle import BUNDLED, WEIGHTS, read_config
from app.compose import load_composed
from app.embedder import Embedder, load_embedder, on_cpu
from app.model import load_model
from app.settings import Settings
from index.matryoshka import prefixes

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = [
    "Parse a string into a datetime object according to a format.",
    "Sort the items of a list in place, in ascending order.",
    "Compute the hash of a file's contents with SHA-256.",
    "Start a new thread of control and wait until it terminates.",
    "Return the natural logarithm of a number.",
    "Split a path into a directory and a file name.",
    "Send an HTTP request and return the response body.",
    "Compress data with the gzip format.",
    "Open a connection to a SQLite database.",
    "Generate a random integer between two bounds.",
    "Escape special characters in a regular expression.",
    "The wing of an aeroplane in a supersonic stream of air.",
]
QUERIES = {
    "parse a date from text": 0,
    "order the elements of an array": 1,
    "checksum of a document": 2,
    "run code in parallel": 3,
    "ln(x)": 4,
    "basename of a path": 5,
    "download a web page": 6,
    "make data smaller": 7,
    "talk to an embedded SQL database": 8,
    "roll a die": 9,
    "lift on an aircraft at high speed": 11,
}


@pytest.fixture(scope="module")
def model() -> SentenceTransformer:
    """The composed model on the CPU."""
    return load_composed(device="cpu")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """The bundled model in service."""
    found = load_embedder(Settings(device="cpu"))
    assert found is not None
    return found


def test_the_files_in_the_repository_are_small() -> None:
    """Head, table, settings and card together stay under 3 MB."""
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) < 3_000_000


def test_the_head_is_orthogonal() -> None:
    """Stored in 16 bits it still changes no inner product by more than 1e-3."""
    head = load_file(BUNDLED / WEIGHTS)["head"].float()
    assert (head @ head.T - torch.eye(768)).abs().max() < 1e-3


def test_the_table_weighs_words_and_nothing_else() -> None:
    """Every special token has weight 0; a rare word weighs more than a common one."""
    table = load_file(BUNDLED / WEIGHTS)["idf"].float()
    tokenizer = load_composed(device="cpu").tokenizer
    the, water, turbine = tokenizer.convert_tokens_to_ids(["the", "water", "turbine"])
    assert table.shape == (30_522,)
    assert not table[tokenizer.all_special_ids].any()
    assert 0 <= table[the] < table[water] < table[turbine]


def test_the_head_keeps_every_full_similarity(model: SentenceTransformer) -> None:
    """Inner products before and after the head agree."""
    features = model[2](model[1](model[0](model.preprocess(TEXTS))))["sentence_embedding"].detach().numpy()
    vectors = model.encode(TEXTS)
    assert vectors @ vectors.T == pytest.approx(features @ features.T, abs=1e-3)


def test_queries_find_what_they_mean(embedder: Embedder) -> None:
    """At full width every query's own text comes first, at 64 numbers nearly every one."""
    queries, texts = embedder.embed_queries(list(QUERIES)), embedder.embed_documents(TEXTS).vectors
    expected = np.array(list(QUERIES.values()))
    assert (np.argmax(queries @ texts.T, axis=1) == expected).all()
    narrow = prefixes(queries, 64) @ prefixes(texts, 64).T
    assert (np.argmax(narrow, axis=1) == expected).mean() > 0.8


def test_vectors_are_unit_rows_of_768(embedder: Embedder) -> None:
    """Also for an empty text and one without a known word."""
    vectors = embedder.embed_documents([*TEXTS, "", "\u4e2d\u6587", "word " * 2000]).vectors
    assert vectors.shape == (len(TEXTS) + 3, 768)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_its_space_is_a_funnel_from_64_to_768(embedder: Embedder) -> None:
    """Widths, limits and a fingerprint without a path in it."""
    space = embedder.space
    assert (space.dim, space.prefix_dim, space.exact_only, embedder.max_tokens) == (768, 64, False, 256)
    assert embedder.matryoshka_dims == tuple(read_config()["matryoshka_dims"])
    assert embedder.notice is None
    assert str(Path.cwd()) not in str(dict(space.fingerprint))
    assert str(space.fingerprint["weights"]).startswith("sha256:")


def test_a_long_text_is_reported(embedder: Embedder) -> None:
    """254 words and the two ends fit into 256 tokens, 255 words do not."""
    assert embedder.embed_documents(["word " * 254, "word " * 255]).truncated.tolist() == [False, True]


def test_tokens_are_counted_as_it_reads_them(embedder: Embedder) -> None:
    """With the two ends, and cut at 256."""
    assert embedder.count_tokens(["word " * 10, "word " * 300], "query") == 12 + 256


def test_widths_can_be_cut_by_sentence_transformers(model: SentenceTransformer) -> None:
    """`truncate_dim` gives the first numbers of the full vector."""
    full, cut = model.encode(TEXTS), model.encode(TEXTS, truncate_dim=64)
    assert cut == pytest.approx(full[:, :64], abs=1e-6)
    assert model.encode_query(TEXTS[:1]) == pytest.approx(model.encode_document(TEXTS[:1]), abs=1e-6)


def test_a_saved_model_is_served_from_its_folder(embedder: Embedder, tmp_path: Path) -> None:
    """`save` writes a folder that FUNNEL_MODEL takes as it is, with the trained widths and the same vectors."""
    load_composed(device="cpu").save(str(tmp_path / "saved"), create_model_card=False)
    loaded = load_embedder(Settings(model=str(tmp_path / "saved"), device="cpu"))
    assert loaded is not None
    assert loaded.matryoshka_dims == embedder.matryoshka_dims
    assert loaded.embed_queries(TEXTS) == pytest.approx(embedder.embed_queries(TEXTS), abs=1e-5)


def test_the_service_computes_what_sentence_transformers_composes(embedder: Embedder) -> None:
    """Same space, same vectors, same texts cut, whatever their length and characters."""
    composed = load_model(Settings(device="cpu"))
    texts = [*TEXTS, "", " ", "word " * 300, "\u4e2d\u6587 na\u00efve [SEP] ##ing", "e\u0301 \x01", "same " * 40] * 2
    assert (composed.space, composed.max_tokens) == (embedder.space, embedder.max_tokens)
    assert (composed.matryoshka_dims, composed.notice) == (embedder.matryoshka_dims, embedder.notice)
    expected, found = composed.embed_documents(texts), embedder.embed_documents(texts)
    assert np.abs(found.vectors - expected.vectors).max() < 1e-6
    assert found.truncated.tolist() == expected.truncated.tolist()
    assert np.abs(embedder.embed_queries(texts[:1]) - expected.vectors[:1]).max() < 1e-6
    assert embedder.embed_documents([]).vectors.shape == (0, 768)


def test_the_service_imports_no_transformers() -> None:
    """They would take longer than everything else a start does."""
    load = "from app.embedder import load_embedder; from app.settings import Settings; load_embedder(Settings())"
    heavy = "{'transformers', 'sentence_transformers', 'sklearn', 'huggingface_hub'} & set(sys.modules)"
    code = f"import sys, app.main; {load}.embed_queries(['a']); print({heavy} or 'light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "light\n"


def test_another_device_is_left_to_sentence_transformers() -> None:
    """The packed model is one for processors."""
    assert not on_cpu("cuda:0")
    assert on_cpu("cpu")


def test_both_lanes_run_at_the_same_time(embedder: Embedder) -> None:
    """Queries while documents are embedded: no error, and the vectors are those of a quiet service."""
    expected = embedder.embed_queries(list(QUERIES))
    thread = threading.Thread(target=embedder.embed_documents, args=(TEXTS * 8,))
    thread.start()
    found = [embedder.embed_queries(list(QUERIES)) for _ in range(5)]
    thread.join()
    assert all(one == pytest.approx(expected, abs=1e-5) for one in found)

"""Which model this is: where its files lie, a hash of its weights, the fingerprint of its vectors."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from index.space import FingerprintValue

TEXT_TEMPLATE = "title\\ntext"
WEIGHT_FILES = (
    "*.safetensors",
    "pytorch_model*.bin",
    "tokenizer.json",
    "vocab.txt",
    "*.model",
    "modules.json",
)
CARD_WIDTHS = re.compile(r'"matryoshka_dims":\s*\[([\d,\s]+)\]')  # the training section of a generated model card


@dataclass(frozen=True)
class Origin:
    """Where a loaded model came from; `commit` is that of a hub model, `folder` None when it cannot be found."""

    name: str
    folder: Path | None
    commit: str | None


def fingerprint_of(
    name: str, weights: str, query_prompt: str, document_prompt: str, max_tokens: int | None, layer_norm: bool = False
) -> dict[str, FingerprintValue]:
    """Everything that decides a vector, flat; the width is added by the space itself."""
    return {
        "model": name,
        "weights": weights,
        "query_prompt": query_prompt,
        "document_prompt": document_prompt,
        "text": TEXT_TEMPLATE,
        "normalisation": "layer_norm, truncate, l2" if layer_norm else "truncate, l2",
        "max_tokens": max_tokens,
    }


def find_origin(name: str, revision: str | None) -> Origin:
    """The folder and the commit behind a name that has been loaded: a folder or a hub id."""
    if Path(name).expanduser().is_dir():
        return Origin("folder", Path(name).expanduser(), None)
    from huggingface_hub import try_to_load_from_cache  # late: the bundled model does without

    for file in ("modules.json", "config.json"):
        found = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(found, str):
            return Origin(name, Path(found).parent, Path(found).parent.name)
    return Origin(name, None, None)


def weights_id(origin: Origin) -> str:
    """`commit:...` for a hub model, else `sha256:...` over weights, tokenizer and module settings, not over paths."""
    if origin.commit is not None or origin.folder is None:
        return f"commit:{origin.commit or 'unknown'}"
    return hash_files(origin.folder, model_files(origin.folder))


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide its vectors, sorted by their path in it."""
    files = {file for pattern in WEIGHT_FILES for file in folder.rglob(pattern)}
    return sorted(files | set(folder.glob("*/config.json")))


def hash_files(folder: Path, files: Iterable[Path], extra: str = "") -> str:
    """`sha256:` and 64 hex digits over names in the folder, contents, and `extra`."""
    digest = hashlib.sha256(extra.encode())
    for file in files:
        digest.update(file.relative_to(folder).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def stated_widths(folder: Path | None) -> tuple[int, ...]:
    """Trained widths that a model's own files state: `matryoshka_dimensions` of its config, else its model card."""
    if folder is None:
        return ()
    config = folder / "config.json"
    if config.is_file() and (stated := json.loads(config.read_text()).get("matryoshka_dimensions")):
        return tuple(int(width) for width in stated)
    card = folder / "README.md"
    if card.is_file() and (match := CARD_WIDTHS.search(card.read_text(errors="replace"))):
        return tuple(int(width) for width in match[1].split(",") if width.strip())
    return ()

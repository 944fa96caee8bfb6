// What stands in the place of results before there is a question.

import { post } from "./api.js";
import { at, button, make, show } from "./dom.js";
import { cut } from "./format.js";
import { named } from "./results.js";
import { change } from "./state.js";

const DEMO = "python scripts/demo_corpus.py | funnel ingest -";
const OWN = "funnel ingest notes.jsonl";
const EXAMPLES = 3;

/** An empty collection gets a beginning, a full one a few words about funnel search and something to ask. */
export async function welcome(stored, info, signal) {
  const told = !info.model ? mute(info) : stored ? full(info) : empty();
  show(at("welcome"), ...told);
  if (stored && info.model) at("welcome").append(...(await examples(signal)));
}

function empty() {
  const choose = () => {
    change({ view: "add" }, true);
    at("file").focus();
  };
  return [
    make("h2", {}, "Nothing is stored yet"),
    make(
      "p",
      {},
      "Drop a file anywhere on this page: JSONL, CSV, Markdown or plain text. It goes to this service and nowhere else.",
    ),
    make("p", {}, button("Choose a file", choose, { class: "main" })),
    make("p", {}, "Or in a shell, with a file of your own, or with the documentation of Python as an example:"),
    make("pre", { tabindex: 0, role: "region", "aria-label": "Commands" }, `${OWN}\n${DEMO}`),
  ];
}

function full({ dim, prefix_dim: prefix, exact_only: exact }) {
  const how = exact
    ? `Every search compares all ${dim} numbers of every document: this model has no shorter vectors.`
    : `A search compares ${prefix} numbers of every document and keeps a shortlist; only for that it compares all ${dim}. ` +
      "Ask something, then make the shortlist shorter and watch what is missed.";
  return [make("h2", {}, "How it works"), make("p", {}, how)];
}

async function examples(signal) {
  const { documents } = await post("documents/scroll", { limit: EXAMPLES }, { signal });
  const ask = (text) => button(text, () => change({ q: text }, true), { class: "quiet" });
  const texts = documents.map((document) => cut(named(document), 60));
  return [make("p", {}, "Ask for something that is there:"), make("p", { class: "examples" }, ...texts.map(ask))];
}

function mute({ dim }) {
  return [
    make("h2", {}, "This service has no model"),
    make(
      "p",
      {},
      `Documents and questions come as vectors of ${dim} numbers. Open a document and look for others like it.`,
    ),
    make(
      "p",
      {},
      button("Browse documents", () => change({ view: "documents" }, true), { class: "main" }),
    ),
  ];
}

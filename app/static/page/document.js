// One document: all of it, what is like it, and its end.

import { documentPath, get, post } from "./api.js";
import { list } from "./browse.js";
import { at, button, make, show } from "./dom.js";
import { chips } from "./filters.js";
import { named } from "./results.js";
import { change, state } from "./state.js";
import { complain, say } from "./telling.js";

const dialog = at("document");
dialog.addEventListener("close", () => change({ doc: "" }));
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

/** The state changed: open the document that it names, or close the one that is open. */
export async function follow(names) {
  if (!names.has("doc")) return;
  if (!state.doc) return dialog.close();
  try {
    const found = await get(documentPath(state.doc));
    if (found.id === state.doc) open(found);
  } catch (problem) {
    change({ doc: "" });
    complain(problem);
  }
}

function open(found) {
  const like = () => change({ view: "search", like: found.id, q: "", doc: "", limit: 10 }, true);
  show(
    dialog,
    make("h2", { id: "document-title", tabindex: -1, autofocus: true }, named(found)),
    make("p", { class: "facts" }, make("span", { class: "id" }, found.id)),
    chips(found.metadata, Infinity),
    make("div", { class: "whole", tabindex: 0, "aria-label": "Text" }, found.text),
    make(
      "div",
      { class: "buttons" },
      button("Close", () => dialog.close(), { class: "main" }),
      button("More like this", like),
      button("Delete", (event) => confirm(event.target.parentElement, found.id), { class: "danger" }),
    ),
  );
  if (!dialog.open) dialog.showModal();
}

function confirm(place, id) {
  const keep = button("Keep it", () => dialog.close());
  show(
    place,
    make("span", {}, "Delete this document for good?"),
    button("Delete for good", () => erase(id), { class: "danger" }),
    keep,
  );
  keep.focus();
}

async function erase(id) {
  dialog.close();
  try {
    await post("documents/delete", { ids: [id] });
    if (state.view === "documents") await list();
    else [...at("results").children].find((result) => result.dataset.id === id)?.remove();
    say(`Deleted: ${id}`);
  } catch (problem) {
    complain(problem);
  }
}

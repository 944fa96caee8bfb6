// The documents view: what is stored, in the order of ids.

import { post } from "./api.js";
import { at, button, make, show } from "./dom.js";
import { filters } from "./filters.js";
import { cut, many } from "./format.js";
import { named } from "./results.js";
import { change, filter, state } from "./state.js";
import { complain } from "./telling.js";

const PAGE = 25;
let going = null;

/** The state changed: the list is read again when it shows something else. */
export function follow(names) {
  if (names.has("view") || names.has("where")) list();
}

/** Read the list again, as after a deletion. */
export async function list() {
  going?.abort();
  const { signal } = (going = new AbortController());
  const found = make("p", { role: "status" });
  const items = make("ul", { class: "items" });
  show(at("browse"), make("div", { class: "where" }, ...filters()), opener(), found, items);
  try {
    const { count } = await post("documents/count", { filter: filter() }, { signal });
    found.textContent = `${many(count, "document")}${state.where.length ? " pass the filter" : ", in the order of their ids"}`;
    await page(items, null, signal);
  } catch (problem) {
    complain(problem);
  }
}

function opener() {
  const field = make("input", { id: "by-id", autocomplete: "off", spellcheck: "false" });
  const open = (event) => {
    event.preventDefault();
    if (field.value) change({ doc: field.value }, true);
  };
  return make(
    "form",
    { class: "row", onsubmit: open },
    make("label", { for: "by-id" }, "Open by id"),
    field,
    make("button", { type: "submit", class: "quiet" }, "Open"),
  );
}

async function page(items, after, signal) {
  const { documents, next } = await post("documents/scroll", { limit: PAGE, after, filter: filter() }, { signal });
  items.append(...documents.map(item));
  at("browse").querySelector(".more")?.remove();
  if (next === null) return;
  const more = async (event) => {
    event.target.disabled = true;
    try {
      await page(items, next, signal);
      items.children[items.children.length - 1]?.querySelector("button")?.focus({ preventScroll: true });
    } catch (problem) {
      complain(problem);
    }
  };
  at("browse").append(button("Show more", more, { class: "quiet more" }));
}

function item(document) {
  return make(
    "li",
    {},
    button(named(document), () => change({ doc: document.id }, true), { class: "open" }),
    make("span", { class: "id" }, cut(document.id, 60)),
    make("span", { class: "hint" }, cut((document.title ? document.text : "").replace(/\s+/gu, " "), 120)),
  );
}

// The page: which view is shown, and what all views share.

import { get } from "./api.js";
import * as adding from "./adding.js";
import * as browse from "./browse.js";
import * as document_ from "./document.js";
import { at } from "./dom.js";
import * as key from "./key.js";
import * as search from "./search.js";
import { change, onchange, start, state } from "./state.js";
import * as status from "./status.js";
import { complain, quiet } from "./telling.js";

const VIEWS = { search, documents: browse, add: adding, status };
const TITLES = { search: "Funnel search", documents: "Documents", add: "Add documents", status: "Status" };

for (const link of document.querySelectorAll("[data-view], .brand")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    change(
      { view: link.dataset.view ?? "search", doc: "", ...(link.dataset.view ? {} : { q: "", like: "", where: [] }) },
      true,
    );
  });
}

at("skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("main").focus();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  change({ view: "search" }, true);
  at("q").focus();
});

onchange((names) => {
  quiet();
  if (names.has("view")) turn();
  document_.follow(names);
  VIEWS[state.view].follow(names);
});

function turn() {
  for (const name of Object.keys(VIEWS)) at(name).hidden = name !== state.view;
  for (const link of document.querySelectorAll("[data-view]")) {
    link.dataset.view === state.view ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  document.title = state.view === "search" ? TITLES.search : `${TITLES[state.view]} – Funnel search`;
  for (const view of Object.values(VIEWS)) view.leave?.();
}

/** What /info says, asked for again when the key changes. */
async function open() {
  try {
    const info = await get("info");
    at("version").textContent = `${info.name} ${info.version} · ${info.model?.name ?? "no model"}`;
    for (const view of Object.values(VIEWS)) view.know?.(info);
    VIEWS[state.view].follow(new Set(["view"]));
  } catch (problem) {
    complain(problem);
  }
}

key.start(open);
search.begin();
adding.begin();
start();
open();

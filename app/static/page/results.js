// The list of results.

import { at, button, make, show } from "./dom.js";
import { chips } from "./filters.js";
import { count, cut } from "./format.js";
import { marked, passage } from "./highlight.js";
import { change } from "./state.js";

/** Show the results of an answer. */
export function results(answer, question) {
  show(at("results"), ...answer.results.map((hit) => result(hit, question)));
}

/** Arrow keys go from the field into the results and along them. */
export function walk(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const stops = [at("q"), ...at("results").querySelectorAll(".open")];
  const here = stops.indexOf(document.activeElement);
  if (here < 0) return;
  event.preventDefault();
  stops[Math.min(Math.max(here + (event.key === "ArrowDown" ? 1 : -1), 0), stops.length - 1)].focus();
}

/** The name of a document for people: its title, the beginning of its text, or its id. */
export const named = (hit) => hit.title || cut((hit.text || "").replace(/\s+/gu, " ").trim(), 70) || hit.id;

function result(hit, question) {
  const open = button("", () => change({ doc: hit.id }, true), { class: "open" });
  open.append(...marked(named(hit), question));
  return make(
    "li",
    { "data-id": hit.id },
    make("h3", {}, open),
    make("p", { class: "text" }, ...marked(passage(hit.text ?? "", question), question)),
    chips(hit.metadata),
    make(
      "p",
      { class: "facts" },
      make("span", { class: "id" }, cut(hit.id, 60)),
      make("span", { title: "Inner product of the full vectors; 1 is the most" }, `score ${hit.score.toFixed(3)}`),
      moved(hit.explain),
      button("More like this", () => change({ like: hit.id, q: "", limit: 10 }, true), { class: "link" }),
    ),
  );
}

/** Where the first stage had it, and where it is now. */
function moved({ prefix_rank: before, full_rank: now }) {
  if (before === null || now === null) return null;
  const title = `Place ${count(before)} by the short vectors, place ${count(now)} by the full ones`;
  const heard = make("span", { class: "unseen" }, "Place by the short vectors, then by the full ones: ");
  return make("span", { class: before > now ? "moved up" : "moved", title }, heard, `${count(before)} → ${count(now)}`);
}

// The search view: asks as you type, gives up what is no longer wanted, and hands answers to the pictures.

import { get, post } from "./api.js";
import { curve } from "./curve.js";
import { at, settled, show } from "./dom.js";
import { compare } from "./exact.js";
import { filters } from "./filters.js";
import { count, many, ms, percent } from "./format.js";
import { results, walk } from "./results.js";
import { change, filter, state } from "./state.js";
import { stages } from "./stages.js";
import { complain, quiet } from "./telling.js";
import { welcome } from "./welcome.js";
import { width } from "./width.js";

const TYPING = 140; // milliseconds without a key before a search is sent
const ASKS = ["view", "q", "like", "limit", "mode", "shortlist", "target", "stages", "where"];
const field = at("q");
const soon = settled(() => run(), TYPING);
let info = null;
let going = null;
let measured = null; // what GET /recall told last

/** Listen to the field and the buttons. */
export function begin() {
  field.addEventListener("input", () => change({ q: field.value, like: "", limit: 10 }));
  at("ask").addEventListener("submit", (event) => (event.preventDefault(), run()));
  at("more").addEventListener("click", () => {
    const limit = state.limit + 10;
    change({ limit, shortlist: Math.max(state.shortlist, limit) });
  });
  at("search").addEventListener("keydown", walk);
  at("jump").addEventListener("click", () => {
    at("funnel").scrollIntoView();
    at("funnel").focus({ preventScroll: true });
  });
  if (navigator.clipboard) {
    at("copy").addEventListener("click", async () => {
      await navigator.clipboard.writeText(location.href);
      at("copy").textContent = "Copied";
      setTimeout(() => (at("copy").textContent = "Copy link"), 2000);
    });
  }
}

/** What /info said. */
export function know(told) {
  info = told;
}

/** The state changed. */
export function follow(names) {
  if (document.activeElement !== field) field.value = state.q;
  if (names.has("view")) refreshCurve();
  if (names.has("view") || names.has("where")) holding(() => show(at("where"), ...filters())); // not under somebody's hand
  if (ASKS.some((name) => names.has(name))) names.has("view") ? run() : soon();
}

/** What is looked for, and how; the body of POST /search. */
function body() {
  const plans = {
    automatic: {},
    shortlist: { shortlist: state.shortlist },
    target: { target_recall: state.target },
    stages: { stages: state.stages },
    exact: { exact: true },
  };
  const looked = state.like ? { id: state.like } : { query: state.q };
  return { ...looked, limit: state.limit, filter: filter(), explain: true, ...plans[state.mode] };
}

async function run() {
  going?.abort();
  const { signal } = (going = new AbortController());
  if (!info) return;
  try {
    if (!state.q.trim() && !state.like) return await rest(signal);
    const asked = body();
    const answer = await post("search", asked, { signal });
    quiet();
    holding(() => tell(answer, asked, signal));
  } catch (problem) {
    if (problem.name === "AbortError") return;
    holding(() => fail(problem));
  }
}

/** Show something; if what had the focus is not there any more, what was found gets it. */
function holding(work) {
  const held = at("search").contains(document.activeElement);
  work();
  if (held && document.activeElement === document.body) at("found").focus();
}

/** Say what is wrong; where a width was chosen, it can be set right. */
function fail(problem) {
  at("found").textContent = "";
  at("welcome").hidden = true;
  at("answer").hidden = state.mode === "automatic";
  at("answer").classList.add("failed");
  show(at("results"));
  at("more").hidden = true;
  if (info) width(info, null);
  complain(problem);
}

function tell(answer, asked, signal) {
  at("welcome").hidden = true;
  at("answer").hidden = at("jump").hidden = false;
  at("answer").classList.remove("failed");
  at("copy").hidden = !navigator.clipboard;
  const found = answer.results.length;
  const of = `${many(found, "result")} from ${many(answer.index.count, "document")} in ${ms(answer.timing_ms.total)}`;
  const told = [state.like && `Like ${state.like}:`, of, estimate(answer.funnel), answer.fewer?.detail];
  at("found").textContent = told.filter(Boolean).join(" · ");
  at("more").hidden = found < state.limit || state.limit + 10 > info.limits.max_limit;
  results(answer, state.q);
  stages(answer, info);
  width(info, answer);
  curve(at("curve"), measured, answer);
  compare(answer, asked, info, signal);
}

function estimate({ exact, recall_estimate: recall, certified }) {
  if (exact) return "exact";
  if (certified) return "proven to be exact";
  return recall === null ? "" : `recall estimated at ${percent(recall)}`;
}

async function rest(signal) {
  at("answer").hidden = at("copy").hidden = at("jump").hidden = true;
  const { count: stored } = await post("documents/count", {}, { signal });
  const told = `${count(stored)} documents to search. Type what you mean, not the words it uses.`;
  at("found").textContent = stored ? told : "";
  at("welcome").hidden = false;
  await welcome(stored, info, signal);
}

async function refreshCurve() {
  try {
    measured = await get("recall");
  } catch {
    measured = null; // the search says what is wrong
  }
}

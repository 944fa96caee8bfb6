// The exact answer beside the funnel's: what was missed, and how deep it lay.

import { post } from "./api.js";
import { at, button, make, show } from "./dom.js";
import { bytes, count, many, ms, percent } from "./format.js";
import { places } from "./places.js";
import { named } from "./results.js";
import { above } from "./scale.js";
import { mark } from "./sliders.js";
import { change, state } from "./state.js";
import { complain } from "./telling.js";
import { widest } from "./width.js";

const CHEAP = 100_000; // documents that are compared with without being asked
const SETTLED = 250; // milliseconds: who types on needs no exact answer
let wanted = null; // what the user said about it, null: nothing yet
let kept = { key: "", answer: null }; // of one question, for all widths

/** Show the places of an answer, and what the exact one has besides. */
export async function compare(answer, asked, info, signal) {
  const { exact: complete, explain } = answer.funnel;
  const found = new Set(answer.results.map((hit) => hit.id));
  const cut = cutOf(answer.funnel);
  if (!complete && !(wanted ?? explain.matching <= CHEAP)) {
    places(placed(answer, found), cut, asked.limit, "funnel");
    return offer(answer, asked, info, signal);
  }
  try {
    const exact = complete ? answer : await exactly(asked, answer, signal);
    const hits = placed(exact, found);
    places(info.exact_only ? [] : hits, cut, asked.limit, complete ? "exact" : "compared");
    tell(hits, exact, answer, info);
    mark(hits, widest(info, explain.matching));
  } catch (problem) {
    complain(problem);
  }
}

const placed = ({ results }, found) =>
  results.map((hit) => ({
    id: hit.id,
    name: named(hit),
    before: hit.explain.prefix_rank,
    now: hit.explain.full_rank,
    found: found.has(hit.id),
  }));

/** The length of the shortlist; null where none cut the prefix order. */
function cutOf({ exact, stages, target_recall: target }) {
  return exact || stages.length < 2 || target !== null ? null : stages[0][1];
}

async function exactly({ query, id, limit, filter }, answer, signal) {
  const key = JSON.stringify([query, id, limit, filter, answer.index]);
  if (kept.key !== key) {
    await new Promise((resolve) => setTimeout(resolve, SETTLED));
    signal.throwIfAborted();
    const body = { query, id, limit, filter, exact: true, explain: true, with_metadata: false };
    kept = { key, answer: await post("search", body, { signal }) };
  }
  return kept.answer;
}

function offer(answer, asked, info, signal) {
  const go = () => {
    wanted = true;
    compare(answer, asked, info, signal);
  };
  show(
    at("exact"),
    make(
      "p",
      { class: "hint" },
      `It compares the full vectors of ${many(answer.funnel.explain.matching, "document")}.`,
    ),
    button("Compare with the exact answer", go, { class: "quiet" }),
  );
}

function tell(hits, exact, answer, info) {
  const missed = hits.filter((hit) => !hit.found);
  const got = hits.length - missed.length;
  const share = hits.length ? got / hits.length : 1;
  show(
    at("exact"),
    make("p", { class: "score" }, make("strong", {}, `${got} of ${hits.length}`), ` found: recall ${percent(share)}`),
    make("p", { class: "hint" }, price(exact, answer, info)),
    missed.length ? make("ol", { class: "lost" }, ...missed.map((hit) => lost(hit, info))) : null,
  );
}

function price(exact, answer, info) {
  const { reranked } = exact.funnel.explain;
  if (exact === answer) return "This is the exact answer: nothing can be missed.";
  const times = ms(exact.timing_ms.rerank);
  const ours = ms(answer.timing_ms.shortlist + answer.timing_ms.rerank);
  return `The exact answer compared ${count(reranked)} full vectors (${bytes(reranked * info.row_bytes)}) in ${times}, this one took ${ours}.`;
}

function lost(hit, info) {
  const needed = above(hit.before);
  const can = hit.before <= info.limits.max_shortlist && hit.before > (state.mode === "shortlist" ? 0 : 1);
  const where = ` – ${ordinal(hit.now)} of the exact answer, place ${count(hit.before)} by the short vectors`;
  const widen = () => change({ mode: "shortlist", shortlist: needed });
  return make(
    "li",
    {},
    button(hit.name, () => change({ doc: hit.id }, true), { class: "link" }),
    where,
    can ? button(`Widen to ${count(needed)}`, widen, { class: "link" }) : null,
  );
}

function ordinal(number) {
  const end = { 1: "st", 2: "nd", 3: "rd" }[number % 100 > 10 && number % 100 < 14 ? 0 : number % 10];
  return `${number}${end ?? "th"}`;
}

// The funnel of one answer: how many are left after each stage, what was read, how long it took.

import { at, make, show } from "./dom.js";
import { bytes, count, many, ms } from "./format.js";
import { placeOf } from "./scale.js";

const NARROWEST = 12; // percent of the width

/** Show the stages of an answer with `explain`. */
export function stages(answer, info) {
  const steps = stepsOf(answer, info);
  const all = answer.funnel.explain.matching;
  const said =
    answer.funnel.filter_strategy === "none" ? many(all, "document") : `${many(all, "document")} pass the filter`;
  show(
    at("stages"),
    make("li", {}, make("strong", {}, said)),
    ...steps.map((step, place) => narrowing(step, steps[place - 1]?.left ?? all, all)),
  );
  at("cost").textContent = cost(answer, steps, info);
}

/** What each stage compared and kept; `read` is bytes, null where a graph chose what to compare. */
function stepsOf({ funnel, timing_ms: timing, results }, info) {
  const { distances, reranked } = funnel.explain;
  const row = (width) => (info.row_bytes * width) / info.dim;
  return funnel.stages.map(([dims, keep], place) => {
    const last = place === funnel.stages.length - 1;
    const first = place === 0 && !last;
    const compared = first ? distances.prefix : last ? reranked : funnel.stages[place - 1][1];
    const read = compared === null ? null : compared * (first ? 4 * dims : row(dims));
    const took = first ? timing.shortlist : last ? timing.rerank : null;
    const left = last ? results.length : Math.min(keep, funnel.explain.matching);
    return { dims, compared, read, took, left, name: last ? "results" : place ? "kept" : "in the shortlist" };
  });
}

/** A piece of the funnel, as wide as what comes in above and as what is left below, on a logarithmic scale. */
function narrowing(step, before, all) {
  const share = (number) => (number ? NARROWEST + (100 - NARROWEST) * placeOf(number, 1, Math.max(all, 2)) : 0) / 2;
  const piece = make("span", { class: "piece" }, make("span", {}, work(step)));
  piece.style.setProperty("--from", `${share(before)}%`);
  piece.style.setProperty("--to", `${share(step.left)}%`);
  return make("li", {}, piece, make("strong", {}, `${count(step.left)} ${step.name}`));
}

function work({ dims, compared, read, took }) {
  const what = compared === null ? `a graph over ${dims} numbers` : `${count(compared)} × ${dims} numbers`;
  return [what, read === null ? null : bytes(read), took === null ? null : ms(took)].filter(Boolean).join(" · ");
}

function cost({ funnel, timing_ms: timing }, steps, info) {
  const read = steps.reduce((sum, step) => sum + (step.read ?? 0), 0);
  const full = funnel.explain.matching * info.row_bytes;
  const share = funnel.exact || !full ? "" : ` A comparison of all full vectors would read ${bytes(full)}.`;
  const cold = funnel.explain.cold_rows ? ` ${many(funnel.explain.cold_rows, "row")} came from the disk.` : "";
  const graph = steps.some((step) => step.read === null) ? ", and what the graph visited" : "";
  return `${bytes(read)} compared${graph}.${share}${cold} Besides: embedding the question ${timing.embed ? ms(timing.embed) : "nothing (it is remembered)"}, reading documents ${ms(timing.documents)}.`;
}

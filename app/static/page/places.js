// Two columns: where the short vectors put each document, and where the full ones do, with a line from one to the other.

import { at, draw, make, show } from "./dom.js";
import { count, cut } from "./format.js";
import { placeOf, powers } from "./scale.js";

const LEFT = 56; // x of the first column
const RIGHT = 132; // of the second one
const WIDTH = 380;
const TOP = 30;
const LINE = 22; // pixels between two documents
const LETTERS = 33;
const SHOWN = 20;

/**
 * Show the columns. `hits` are {name, before, now, found} in the full order, `cut_` is the length of the shortlist or
 * null, `limit` how many were asked for; `of` says what they are: "funnel", alone or "compared", or "exact".
 */
export function places(hits, cut_, limit, of) {
  const shown = hits.filter((hit) => hit.before !== null).slice(0, SHOWN);
  const said = shown.length ? told(shown, limit, of) : "There is one order only: this model has no short vectors.";
  const drawn = shown.length ? chart(shown, cut_, limit, said) : null;
  return show(at("places"), make("p", { class: "hint" }, said), drawn);
}

function told(hits, limit, of) {
  const lifted = hits.filter((hit) => hit.found && hit.before > limit).length;
  const missed = hits.filter((hit) => !hit.found).length;
  const [all, found] = [hits.length, hits.length > missed];
  if (of === "exact") {
    return lifted
      ? `The short vectors alone have ${lifted} of these ${all} below place ${limit}.`
      : `The short vectors alone have the same ${all} on top, perhaps in another order.`;
  }
  const rescued = lifted
    ? `The rerank rescued ${lifted} of ${all}: the short vectors had them below place ${limit}.`
    : "The short vectors had what was found among the first; the rerank put it in order.";
  const lost = missed ? `${missed} ${missed === 1 ? "lies" : "lie"} deeper than the funnel looked: missed.` : "";
  const ask = of === "funnel" ? "Compare with the exact answer to see what was missed." : "";
  return [found && rescued, lost, ask].filter(Boolean).join(" ");
}

function chart(hits, cut_, limit, label) {
  const deepest = Math.max(limit, cut_ ?? 1, ...hits.map((hit) => hit.before)) * 1.15;
  const height = TOP + Math.max(hits.length, 8) * LINE;
  const left = (place) => TOP + 8 + (height - TOP - 20) * placeOf(place, 1, deepest);
  const right = (row) => TOP + 8 + row * LINE;
  return draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${height}`, class: "places", role: "img", "aria-label": label },
    draw("text", { x: LEFT, y: 12, class: "head", "text-anchor": "middle" }, "short vectors"),
    draw("text", { x: RIGHT, y: 12, class: "head" }, "full vectors"),
    draw("line", { x1: LEFT, x2: LEFT, y1: TOP, y2: height - 6, class: "axis" }),
    ...powers(deepest).map((power) =>
      draw("text", { x: LEFT - 10, y: left(power) + 4, class: "tick", "text-anchor": "end" }, count(power)),
    ),
    ...(cut_ && cut_ < deepest ? [cutting(left(cut_), cut_)] : []),
    ...hits.map((hit, row) => line(hit, left(hit.before), right(row), limit)),
  );
}

function cutting(y, length) {
  return draw(
    "g",
    {},
    draw("line", { x1: LEFT - 14, x2: LEFT + 22, y1: y, y2: y, class: "cut" }),
    draw("text", { x: 0, y: y - 5, class: "cutting" }, `${count(length)} kept`),
  );
}

function line(hit, from, to, limit) {
  const kind = !hit.found ? "missed" : hit.before > limit ? "rescued" : "kept";
  const middle = (LEFT + RIGHT) / 2;
  return draw(
    "g",
    { class: kind },
    draw(
      "title",
      {},
      `${hit.name}: place ${count(hit.before)} by the short vectors, ${count(hit.now)} by the full ones`,
    ),
    draw("path", { d: `M${LEFT} ${from} C${middle} ${from} ${middle} ${to} ${RIGHT - 8} ${to}`, class: "way" }),
    draw("circle", { cx: LEFT, cy: from, r: 3.5 }),
    draw("circle", { cx: RIGHT - 8, cy: to, r: 3.5 }),
    draw("text", { x: RIGHT + 4, y: to + 4 }, `${hit.now}  ${cut(hit.name, LETTERS)}`),
  );
}

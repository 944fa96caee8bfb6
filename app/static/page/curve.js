// Measured recall by the number of full vectors compared, with the answer of now on it.

import { draw, make, show } from "./dom.js";
import { count, percent } from "./format.js";
import { placeOf, powers } from "./scale.js";

const WIDTH = 380;
const HEIGHT = 170;
const LEFT = 46;
const BOTTOM = 26;
const TOP = 10;

/** Show the curve of a status of GET /recall in `place`, with the point of `answer` if there is one. */
export function curve(place, status, answer = null) {
  const points = pointsOf(status?.result);
  if (points.length < 2) return show(place, make("p", { class: "hint" }, missing(status)));
  const now = answer && pointOf(answer.funnel, points);
  const filtered = answer && answer.funnel.filter_strategy !== "none" ? " Without the filter." : "";
  const said = `Mean over ${count(status.result.queries)} questions, recall of ${status.result.k} results.${filtered}`;
  const told = now ? `${said} This answer: ${now.text}.` : said;
  return show(place, chart(points, now, told), make("p", { class: "hint" }, told));
}

/** What was measured by shortlists, or else by target recalls: {length, mean, low, high} by length. */
function pointsOf(result) {
  const lengths = (result?.curve ?? []).filter(({ stages }) => stages.length === 1);
  const points =
    lengths.length > 1
      ? lengths.map(({ stages, recall }) => ({ length: stages[0][1], ...recall }))
      : (result?.targets ?? []).map(({ rows, recall }) => ({ length: rows, ...recall }));
  return points.sort((one, other) => one.length - other.length);
}

function missing(status) {
  const waits = ["waiting", "running"].includes(status?.state);
  return waits
    ? "Recall is being measured; the curve appears when that is done."
    : "Not measured since the service started: Status has a button for it.";
}

/** Where an answer lies: by its shortlist, or by the full vectors that a descent compared. */
function pointOf({ exact, explain }, points) {
  if (exact || !explain.reranked) return null;
  const length = explain.reranked;
  const recall = between(points, length);
  const expected = recall === null ? "fewer than the run tried" : `${percent(recall)} expected on average`;
  return { length, recall, text: `${count(length)} full vectors compared, ${expected}` };
}

/** The mean between two points; beyond the last one it does not fall, before the first one nobody knows. */
function between(points, length) {
  const after = points.findIndex((point) => point.length >= length);
  if (after < 0) return points.at(-1).mean;
  const [from, to] = [points[after - 1], points[after]];
  if (to.length === length) return to.mean;
  return from ? from.mean + (to.mean - from.mean) * placeOf(length, from.length, to.length) : null;
}

function chart(points, now, label) {
  const ends = [Math.min(points[0].length, now?.length ?? Infinity), Math.max(points.at(-1).length, now?.length ?? 0)];
  const least = Math.floor(Math.min(...points.map((point) => point.low), now?.recall ?? 1) * 20 - 1e-9) / 20;
  const x = (length) => LEFT + (WIDTH - LEFT - 12) * placeOf(length, ...ends);
  const y = (recall) => TOP + (HEIGHT - TOP - BOTTOM) * ((1 - recall) / (1 - least || 1));
  const path = (name) => points.map((point) => `${x(point.length)},${y(point[name])}`);
  return draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curve", role: "img", "aria-label": label },
    ...[1, (1 + least) / 2, least].map((recall) => level(recall, y(recall))),
    ...powers(ends[1])
      .filter((power) => power >= ends[0])
      .map((power) =>
        draw("text", { x: x(power), y: HEIGHT - 8, class: "tick", "text-anchor": "middle" }, count(power)),
      ),
    draw("polygon", { points: [...path("low"), ...path("high").reverse()].join(" "), class: "band" }),
    draw("polyline", { points: path("mean").join(" "), class: "mean" }),
    now && draw("line", { x1: x(now.length), x2: x(now.length), y1: TOP, y2: HEIGHT - BOTTOM, class: "cut" }),
    now && now.recall !== null && draw("circle", { cx: x(now.length), cy: y(now.recall), r: 5, class: "now" }),
  );
}

function level(recall, y) {
  return draw(
    "g",
    {},
    draw("line", { x1: LEFT, x2: WIDTH - 12, y1: y, y2: y, class: "grid" }),
    draw("text", { x: LEFT - 8, y: y + 4, class: "tick", "text-anchor": "end" }, percent(recall)),
  );
}

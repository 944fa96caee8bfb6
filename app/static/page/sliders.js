// The sliders: the length of the shortlist on a logarithmic scale, and a target recall.

import { at, draw, make, settled, show } from "./dom.js";
import { count, percent } from "./format.js";
import { numberAt, placeOf } from "./scale.js";
import { change, state } from "./state.js";

const STEPS = 1000;
const SLIDING = 60; // milliseconds without a move before it is searched again
const slid = settled(change, SLIDING);

/** A slider from the limit to `most` with a field for the number itself; dots above it, see mark(). */
export function shortlistSlider(most) {
  const least = state.limit;
  const type = () => Number(field.value) >= 1 && change({ shortlist: Math.round(Number(field.value)) });
  const named = { "aria-label": "Length of the shortlist" };
  const field = make("input", { ...named, type: "number", id: "length", min: 1, max: most, onchange: type });
  const tell = (length) => {
    field.value = length;
    slider.setAttribute("aria-valuetext", `a shortlist of ${count(length)}`);
  };
  const slide = () => {
    const length = numberAt(Number(slider.value) / STEPS, least, most);
    tell(length);
    slid({ shortlist: length });
  };
  const follow = () => {
    if (document.activeElement === slider) return; // it is ahead of the state
    slider.value = Math.round(STEPS * placeOf(Math.min(state.shortlist, most), least, most));
    tell(state.shortlist);
  };
  const heard = { "aria-label": "Length of the shortlist, logarithmic", oninput: slide, onfollow: follow };
  const slider = make("input", { ...heard, type: "range", id: "slider", min: 0, max: STEPS });
  const ends = make("span", { class: "ends" }, make("span", {}, count(least)), make("span", {}, count(most)));
  const dots = draw("svg", { id: "marks", class: "marks", "aria-hidden": "true" });
  return make("div", { class: "slide" }, dots, slider, field, ends);
}

/** Mark above the slider how long the shortlist had to be for each of the exact results, {before, found}. */
export function mark(hits, most) {
  if (!at("marks")) return;
  const x = (hit) => `${100 * placeOf(hit.before, state.limit, most)}%`;
  const dot = (hit) => draw("circle", { cx: x(hit), cy: 6, r: 3.5, class: hit.found ? "found" : "missed" });
  show(at("marks"), ...hits.map(dot));
}

/** A slider from 50 % to 100 %. */
export function targetSlider() {
  const told = make("output", {});
  const slide = () => {
    told.textContent = percent(Number(slider.value));
    slid({ target: Number(slider.value) });
  };
  const follow = () => {
    if (document.activeElement === slider) return;
    slider.value = state.target;
    told.textContent = percent(state.target);
  };
  const heard = { "aria-label": "Target recall", oninput: slide, onfollow: follow };
  const slider = make("input", { ...heard, type: "range", id: "target", min: 0.5, max: 1, step: 0.005 });
  return make("div", { class: "slide" }, slider, told);
}

// The stages of a cascade, one a line: how many numbers are compared, and how many documents are kept.

import { button, make } from "./dom.js";
import { change, state } from "./state.js";

/** The stages of the state, to be changed; the last one, at full width, is always there. */
export function editor(info) {
  const last = make("li", {}, `${info.dim} numbers, keep ${state.limit}`);
  return make(
    "div",
    {},
    make("ol", { class: "editor" }, ...state.stages.map((stage, place) => line(stage, place, info)), last),
    button("Add a stage", () => change({ stages: [...state.stages, next(info)] }), { class: "quiet" }),
  );
}

/** Stages to begin with: from the prefix to the middle one of the widths that the model was trained for. */
export function example({ model, prefix_dim: prefix, dim }) {
  const between = (model?.matryoshka_dims ?? []).filter((width) => width > prefix && width < dim).sort((a, b) => a - b);
  const middle = between[Math.floor(between.length / 2)];
  return middle
    ? [
        [prefix, 1000],
        [middle, 100],
      ]
    : [[prefix, 100]];
}

function line([dims, keep], place, info) {
  const set = (part) => (event) => {
    const stages = state.stages.map((pair) => [...pair]);
    stages[place][part] = Math.round(Number(event.target.value));
    if (stages[place][part] > 0) change({ stages });
  };
  const number = (value, label, part, more) =>
    make("input", {
      type: "number",
      min: 1,
      value,
      "aria-label": `${label} ${place + 1}`,
      onchange: set(part),
      ...more,
    });
  const away = () => change({ stages: state.stages.filter((_, other) => other !== place) });
  return make(
    "li",
    {},
    number(dims, "Numbers compared in stage", 0, { max: info.dim, readonly: place === 0 }),
    " numbers, keep ",
    number(keep, "Documents kept by stage", 1),
    place ? button("×", away, { class: "quiet", "aria-label": `Remove stage ${place + 1}` }) : null,
  );
}

function next(info) {
  const [dims, keep] = state.stages.at(-1);
  return [Math.min(2 * dims, info.dim - 1), Math.max(Math.round(keep / 2), state.limit)];
}

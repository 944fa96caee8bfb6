// Metadata as chips: one that is clicked becomes a condition, one that is in force can be taken away.

import { at, button, make } from "./dom.js";
import { value } from "./format.js";
import { change, state } from "./state.js";
import { complain } from "./telling.js";

const MOST = 6; // chips of a result before the rest is counted

/** The metadata of a document as buttons. */
export function chips(metadata, most = MOST) {
  const pairs = Object.entries(metadata ?? {}).flatMap(([key, given]) => leaves(key, given));
  const shown = pairs.slice(0, most).map(([key, given]) => chip(key, given));
  const left = pairs.length - shown.length;
  return make("p", { class: "chips" }, ...shown, left > 0 ? make("span", { class: "hint" }, `and ${left} more`) : null);
}

/** The conditions in force, and a way to write one. */
export function filters() {
  const set = state.where.map((condition, place) => {
    const text = told(condition);
    const away = () => change({ where: state.where.filter((_, other) => other !== place) }, true);
    return button(`${text} ×`, away, { class: "chip set", "aria-label": `Remove the filter ${text}` });
  });
  return [...set, writer()];
}

function writer() {
  const field = make("input", {
    id: "condition",
    placeholder: '{"year": {"$gte": 2020}}',
    "aria-label": "A condition as JSON",
    spellcheck: "false",
    autocomplete: "off",
  });
  const enter = (event) => {
    event.preventDefault();
    if (field.value.trim()) write(field.value);
  };
  return make(
    "details",
    { class: "writer" },
    make("summary", {}, state.where.length ? "and …" : "Filter"),
    make("form", { onsubmit: enter }, field, make("button", { type: "submit", class: "quiet" }, "Apply")),
    make(
      "p",
      { class: "hint" },
      "Or click a value below a result. Operators: $eq $ne $in $nin $gt $gte $lt $lte $exists $contains $and $or $not.",
    ),
  );
}

function write(text) {
  try {
    const condition = JSON.parse(text);
    if (!condition || typeof condition !== "object" || Array.isArray(condition))
      throw new Error('an object such as {"year": 2024} is expected');
    change({ where: [...state.where, condition] }, true);
    at("q").focus();
  } catch (error) {
    complain({ status: 422, title: "The filter is not JSON", message: error.message });
  }
}

function chip(key, given) {
  const condition = { [key]: given };
  const text = `${key}: ${value(given)}`;
  const known = JSON.stringify(condition);
  if (state.where.some((one) => JSON.stringify(one) === known)) return make("span", { class: "chip set" }, text);
  const set = () => change({ where: [...state.where, condition], doc: "" }, true);
  return button(text, set, { class: "chip", "aria-label": `Filter by ${text}` });
}

/** Objects by dotted keys, arrays by their elements, as filters see them. */
function leaves(key, given) {
  if (Array.isArray(given)) return given.flatMap((element) => leaves(key, element));
  if (given && typeof given === "object")
    return Object.entries(given).flatMap(([inner, element]) => leaves(`${key}.${inner}`, element));
  return [[key, given]];
}

function told(condition) {
  const [[key, given], ...others] = Object.entries(condition).length ? Object.entries(condition) : [["{}", ""]];
  const simple = !others.length && !key.startsWith("$") && (given === null || typeof given !== "object");
  return simple ? `${key}: ${value(given)}` : value(condition);
}

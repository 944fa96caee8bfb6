// How wide the funnel is: by itself, by the length of the shortlist, by a target, by stages of one's own, or exact.

import { at, make, show } from "./dom.js";
import { editor, example } from "./editor.js";
import { count, percent } from "./format.js";
import { shortlistSlider, targetSlider } from "./sliders.js";
import { change, state } from "./state.js";

const MODES = {
  automatic: ["Auto", "The service chooses: by its calibration once there is one."],
  shortlist: [
    "Shortlist",
    "How many candidates are compared by their full vectors. Each dot is one of the exact results: it is found when the shortlist reaches it.",
  ],
  target: ["Target recall", "The share of the exact results you want, on average; each question takes what it needs."],
  stages: ["Stages", "A cascade: each stage compares by more numbers and keeps fewer. All numbers come last."],
  exact: ["Exact", "All full vectors are compared: nothing is missed, and nothing is saved."],
};
let drawn = ""; // what the controls were made for: they are not made again under somebody's hand

/** Show the controls for an answer; null when there was none. */
export function width(info, answer) {
  const most = answer ? widest(info, answer.funnel.explain.matching) : info.limits.max_shortlist;
  const made = JSON.stringify([state.mode, state.stages, state.limit, most]);
  if (made !== drawn) show(at("width"), modes(info), controls(info, most));
  drawn = made;
  for (const slider of at("width").querySelectorAll("[type=range]")) slider.dispatchEvent(new Event("follow"));
  at("took").textContent = answer && ["automatic", "target", "stages"].includes(state.mode) ? took(answer.funnel) : "";
}

/** The longest shortlist: that of the settings, or everything where that is less. */
export const widest = (info, matching) => Math.max(Math.min(matching, info.limits.max_shortlist), state.limit);

function modes(info) {
  const choose = (mode) => {
    const stages = mode === "stages" && !state.stages.length ? { stages: example(info) } : {};
    change({ mode, ...stages }, true);
  };
  const radios = Object.entries(MODES).map(([mode, [name]]) => {
    const radio = { type: "radio", name: "mode", value: mode, checked: state.mode === mode };
    return make("label", {}, make("input", { ...radio, onchange: () => choose(mode) }), make("span", {}, name));
  });
  return make(
    "fieldset",
    { class: "modes" },
    make("legend", { class: "unseen" }, "How the width is chosen"),
    ...radios,
  );
}

function controls(info, most) {
  const hint = make("p", { class: "hint" }, MODES[state.mode][1]);
  const made = { shortlist: () => shortlistSlider(most), target: targetSlider, stages: () => editor(info) }[state.mode];
  return make("div", {}, hint, made ? made() : null, make("p", { id: "took" }));
}

function took({ exact, explain, shortlist_source: source, target_recall: wanted }) {
  if (exact) return "It came to comparing everything.";
  const by =
    { default: " (default)", calibration: " (calibrated)", uncalibrated: " (not calibrated yet)" }[source] ?? "";
  const aim = wanted === null ? "" : `, for a target of ${percent(wanted)}`;
  return `${count(explain.reranked)} full vectors were compared${by}${aim}.`;
}

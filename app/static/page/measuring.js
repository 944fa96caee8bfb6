// Recall as it was measured: the curve, the targets, and the run that measures it.

import { post, remove } from "./api.js";
import { curve } from "./curve.js";
import { button, make, show } from "./dom.js";
import { count, ms, percent } from "./format.js";
import { complain } from "./telling.js";

let shown = "";

/** Show a status of GET /recall; `again` reads it anew. */
export function measuring(place, status, again) {
  const known = JSON.stringify([status.id, status.state, status.done, status.phase]);
  if (known === shown && place.childElementCount) return; // nothing new: what has the focus keeps it
  shown = known;
  const drawn = make("div", { class: "drawn" });
  show(
    place,
    make("h2", { id: "recall-title" }, "Recall"),
    run(status, again),
    drawn,
    table(status.result),
    notes(status),
  );
  curve(drawn, status);
}

function run(status, again) {
  const asked = (work) => async () => {
    try {
      await work();
      again();
    } catch (problem) {
      complain(problem);
    }
  };
  if (status.state !== "waiting" && status.state !== "running") {
    return button(
      "Measure recall now",
      asked(() => post("recall", {})),
      { class: "quiet" },
    );
  }
  return make(
    "div",
    { class: "row" },
    make("progress", { max: 1, value: status.fraction, "aria-label": "Measuring recall" }),
    make("span", { class: "hint" }, `${status.phase} ${count(status.done)} of ${count(status.total)}`),
    button(
      "Cancel",
      asked(() => remove("recall")),
      { class: "quiet" },
    ),
  );
}

function table(result) {
  if (!result?.targets.length) return null;
  const rows = result.targets.map(({ target, recall, rows: compared, ms: took }) =>
    make(
      "tr",
      {},
      ...[percent(target), percent(recall.mean), count(Math.round(compared)), ms(took.median)].map((text) =>
        make("td", { class: "number" }, text),
      ),
    ),
  );
  const head = ["Target", "Recall", "Full vectors", "Median time"].map((name) =>
    make("th", { scope: "col", class: "number" }, name),
  );
  return make(
    "table",
    {},
    make("caption", {}, "Target recalls, on questions the calibration has not seen"),
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows),
  );
}

function notes({ error, result }) {
  const said = [error, ...(result?.warnings ?? [])].filter(Boolean);
  return said.length ? make("ul", { class: "hint" }, ...said.map((text) => make("li", {}, text))) : null;
}

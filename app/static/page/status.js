// The status view: what the service says about itself, every few seconds while somebody looks.

import { get } from "./api.js";
import { at, make, show } from "./dom.js";
import { bytes, count, many, percent } from "./format.js";
import { measuring } from "./measuring.js";
import { complain, quiet } from "./telling.js";
import { state } from "./state.js";

const EVERY = 3000; // milliseconds
let timer;
let info = null;

/** What /info said. */
export function know(told) {
  info = told;
}

/** The view is shown, or something changed while it is. */
export function follow(names) {
  if (names.has("view")) look();
}

/** Another view is shown. */
export function leave() {
  clearTimeout(timer);
}

async function look() {
  clearTimeout(timer);
  try {
    const [stats, recall] = document.hidden ? [] : await Promise.all([get("stats"), get("recall")]);
    if (stats && info && state.view === "status") {
      quiet();
      tell(stats, recall);
    }
  } catch (problem) {
    complain(problem);
    if (problem.status === 401 || problem.status === 403) return;
  }
  if (state.view === "status") timer = setTimeout(look, EVERY);
}

function tell(stats, recall) {
  const sized = make("div", {}, sizes("Memory", stats.memory_bytes), sizes("Disk", stats.disk_bytes));
  const parts = [cards(stats), warnings(stats), make("div", { class: "half" }, model(stats), sized)];
  if (!at("measuring"))
    show(
      at("state"),
      make("div", { id: "now" }),
      make("section", { id: "measuring", "aria-labelledby": "recall-title" }),
    );
  show(at("now"), ...parts);
  measuring(at("measuring"), recall, look);
}

function cards({ count: stored, dead_rows: dead, truth, waiting, memory_bytes: memory, disk_bytes: disk }) {
  const queued = Object.values(waiting).reduce((sum, one) => sum + one, 0);
  const live = truth.recall === null ? "–" : percent(truth.recall);
  const compared = truth.compared
    ? `mean of ${many(truth.queries, "answer")} compared with exact search`
    : "no answer was compared with exact search yet";
  return make(
    "dl",
    { class: "cards" },
    ...card("Documents", count(stored), dead ? `and ${count(dead)} dead rows` : "none dead"),
    ...card("Live recall", live, compared),
    ...card("Waiting", count(queued), queued ? named(waiting) : "nothing in any queue"),
    ...card("In memory", bytes(sum(memory)), "for the first stage"),
    ...card("On disk", bytes(disk.total), "vectors, texts, checksums"),
  );
}

const card = (name, value, hint) => [
  make(
    "div",
    {},
    make("dt", {}, name),
    make("dd", {}, make("strong", {}, value), make("span", { class: "hint" }, hint)),
  ),
];
const sum = (parts) => Object.values(parts).reduce((total, part) => total + part, 0);
const named = (parts) =>
  Object.entries(parts)
    .filter(([, number]) => number)
    .map(([name, number]) => `${name.replace(/_/g, " ")} ${count(number)}`)
    .join(", ");

function warnings({ read_only: readOnly, advice, shortlist, truth, scrub, rotation }) {
  const damaged = scrub.damaged_rows
    ? `${count(scrub.damaged_rows)} damaged rows were found: funnel verify tells more.`
    : null;
  const told = [
    readOnly && `Writes are refused: ${readOnly}`,
    shortlist.merge_error,
    truth.warning,
    damaged,
    advice,
    rotation?.advice,
    info.notice,
  ].filter(Boolean);
  if (!told.length) return make("p", { class: "fine" }, "No warnings.");
  return make("ul", { class: "warnings", "aria-label": "Warnings" }, ...told.map((text) => make("li", {}, text)));
}

function sizes(title, parts) {
  const { total, ...rest } = parts;
  const all = total ?? sum(rest);
  const rows = Object.entries(rest)
    .filter(([, size]) => size)
    .map(([name, size]) => {
      const bar = make("span", { class: "bar" });
      bar.style.setProperty("--share", `${(100 * size) / all}%`);
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, name.replace(/_/g, " ")),
        make("td", { class: "number" }, bytes(size)),
        make("td", { class: "wide" }, bar),
      );
    });
  return make("table", { class: "sizes" }, make("caption", {}, title), make("tbody", {}, ...rows));
}

function model(stats) {
  const { model: own, dim, prefix_dim: prefix, storage, fingerprint } = info;
  const facts = {
    Model: own ? `${own.name}${own.revision ? ` @ ${own.revision}` : ""}` : "none: documents bring vectors",
    Widths: info.exact_only ? `${dim}, no prefix` : `${prefix} of ${dim}`,
    "Trained widths": own?.matryoshka_dims.join(", "),
    "Reads at most": own?.max_tokens ? `${own.max_tokens} tokens` : null,
    "Full vectors": storage,
    "First stage": `${stats.shortlist.kind}, ${stats.shortlist.codes}`,
    Rotation: info.rotation?.method,
    Calibration: stats.calibration?.id ?? "none yet",
    Fingerprint: fingerprint,
  };
  const rows = Object.entries(facts)
    .filter(([, fact]) => fact)
    .flatMap(([name, fact]) => [make("dt", {}, name), make("dd", {}, fact)]);
  return make("dl", { class: "facts-of" }, ...rows);
}

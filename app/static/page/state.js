// What the page shows, kept in the fragment of its address: a link to it is a link to the same thing.

const EMPTY = {
  view: "search", // search | documents | add | status
  q: "", // a text, or
  like: "", // the id of a document to find others like
  limit: 10,
  mode: "automatic", // automatic | shortlist | target | stages | exact
  shortlist: 100,
  target: 0.95,
  stages: [], // [[dims, keep], ...]
  where: [], // filters, all of which have to hold
  doc: "", // the document that is open
};
const VIEWS = ["search", "documents", "add", "status"];
const MODES = ["automatic", "shortlist", "target", "stages", "exact"];
const listeners = [];

export const state = { ...EMPTY };

/** Call `work(changed names)` after each change. */
export const onchange = (work) => listeners.push(work);

/** Change the state; `push` makes it a step that the Back button undoes. */
export function change(changes, push = false) {
  const names = Object.keys(changes).filter((name) => JSON.stringify(changes[name]) !== JSON.stringify(state[name]));
  if (!names.length) return;
  Object.assign(state, changes);
  history[push ? "pushState" : "replaceState"](null, "", `#${written()}`);
  listeners.forEach((work) => work(new Set(names)));
}

/** Read the address now, and whenever it changes. */
export function start() {
  window.addEventListener("popstate", follow);
  follow();
}

/** The filter of all conditions; undefined when there is none. */
export function filter() {
  return state.where.length > 1 ? { $and: state.where } : state.where[0];
}

function follow() {
  if (location.hash === "#main") return; // the link that skips the header
  Object.assign(state, EMPTY, read(new URLSearchParams(location.hash.slice(1))));
  listeners.forEach((work) => work(new Set(Object.keys(EMPTY))));
}

function read(given) {
  const text = (name) => given.get(name) ?? EMPTY[name];
  const number = (name) => (Number(given.get(name)) > 0 ? Number(given.get(name)) : EMPTY[name]);
  const one = (name, known) => (known.includes(given.get(name)) ? given.get(name) : EMPTY[name]);
  return {
    view: one("view", VIEWS),
    q: text("q"),
    like: text("like"),
    limit: Math.round(number("limit")),
    mode: one("mode", MODES),
    shortlist: Math.round(number("shortlist")),
    target: number("target"),
    stages: (given.get("stages") ?? "").split(",").map(stage).filter(Boolean),
    where: given.getAll("where").map(condition).filter(Boolean),
    doc: text("doc"),
  };
}

function written() {
  const out = new URLSearchParams();
  for (const name of ["view", "q", "like", "limit", "mode", "doc"]) {
    if (state[name] !== EMPTY[name]) out.set(name, state[name]);
  }
  if (state.mode === "shortlist") out.set("shortlist", state.shortlist);
  if (state.mode === "target") out.set("target", state.target);
  if (state.mode === "stages") out.set("stages", state.stages.map((pair) => pair.join("x")).join(","));
  state.where.forEach((one) => out.append("where", JSON.stringify(one)));
  return out;
}

function stage(text) {
  const pair = text.split("x").map(Number);
  return pair.length === 2 && pair.every((number) => number > 0) ? pair : null;
}

function condition(text) {
  try {
    const found = JSON.parse(text);
    return found && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}

// The two lines above every view: what went wrong, and what was done.

import { at, make, show } from "./dom.js";

/** Show a problem; an answer that is no longer wanted is none. */
export function complain(problem) {
  if (problem.name === "AbortError") return;
  if (problem.status === undefined) console.error(problem); // a defect of this page
  const wait = problem.status === 503 || problem.status === 429 ? ` Try again in ${problem.retryAfter} s.` : "";
  const rest = (problem.body?.errors ?? []).map((error) =>
    make("li", {}, `${error.pointer ?? error.parameter ?? ""} ${error.detail}`),
  );
  show(
    at("problem"),
    problem.title ? make("strong", {}, `${problem.title}. `) : null,
    problem.message + wait,
    rest.length > 1 ? make("ul", {}, ...rest) : null,
  );
  at("problem").hidden = false;
}

/** Say what was done. */
export function say(text) {
  at("said").textContent = text;
  at("said").hidden = false;
}

/** Take both lines away. */
export function quiet() {
  at("problem").hidden = at("said").hidden = true;
}

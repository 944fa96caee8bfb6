// The API key: kept for this tab alone, sent with every request.

import { at, button, make, show } from "./dom.js";

const NAME = "funnel-key";
let known = read();
let changed = () => {};

/** The headers that a request needs. */
export const headers = () => (known ? { authorization: `Bearer ${known}` } : {});

/** Call `work` whenever another key was entered, and open the dialog from the header's button. */
export function start(work) {
  changed = work;
  at("key-open").addEventListener("click", () => ask());
  tell();
}

/** Ask for a key; `why` is said above the field. */
export function ask(why = "") {
  const dialog = at("key");
  if (dialog.open) return;
  const field = make("input", { type: "password", id: "key-field", autocomplete: "off", required: true });
  const enter = (event) => {
    event.preventDefault();
    dialog.close();
    keep(field.value.trim());
  };
  show(
    dialog,
    make(
      "form",
      { onsubmit: enter },
      make("h2", { id: "key-title" }, "API key"),
      why && make("p", { class: "problem" }, why),
      make("label", { for: "key-field" }, "Key"),
      field,
      make("p", { class: "hint" }, "It stays in this tab and is gone when you close it."),
      make(
        "div",
        { class: "buttons" },
        make("button", { type: "submit", class: "main" }, "Use this key"),
        known && button("Forget it", () => (dialog.close(), keep(""))),
        button("Cancel", () => dialog.close()),
      ),
    ),
  );
  dialog.showModal();
}

function keep(key) {
  known = key;
  try {
    key ? sessionStorage.setItem(NAME, key) : sessionStorage.removeItem(NAME);
  } catch {
    // a browser that keeps nothing: the key lasts until the page is left
  }
  tell();
  changed();
}

function read() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

function tell() {
  at("key-open").textContent = known ? "Key ✓" : "Key";
  at("key-open").setAttribute("aria-label", known ? "API key: one is in use" : "API key: none is in use");
}

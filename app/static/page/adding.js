// The add view: files that are dropped or chosen, and how far they are stored.

import { at, button, make, show } from "./dom.js";
import { ACCEPTED, documents } from "./files.js";
import { count, many } from "./format.js";
import { ingest, nothing } from "./ingest.js";
import { change } from "./state.js";

let queue = Promise.resolve(); // one file after the other

/** Show the view, and take files that are dropped anywhere. */
export function begin() {
  const file = make("input", {
    type: "file",
    id: "file",
    multiple: true,
    accept: ACCEPTED,
    onchange: () => take(file.files),
  });
  show(
    at("adding"),
    make(
      "label",
      { class: "drop", for: "file" },
      make("strong", {}, "Drop files here"),
      make("span", {}, "or choose them: JSONL, CSV, TSV, Markdown, plain text, also gzipped"),
      file,
    ),
    make(
      "p",
      { class: "hint" },
      "JSONL and CSV: a text, perhaps an id and a title; every other field becomes metadata to filter by. Markdown is cut at its headings, text at its paragraphs. A file that is dropped again replaces what it stored; what has not changed is not embedded again.",
    ),
    make("ul", { id: "files", class: "files" }),
    make("p", { class: "hint" }, "For millions of documents there is the command line:"),
    make("pre", { tabindex: 0, "aria-label": "Command" }, "funnel ingest notes.jsonl"),
  );
  const over = (on) => document.body.classList.toggle("dropping", on);
  const files = (event) => event.dataTransfer.types.includes("Files"); // and no text that is dragged into a field
  document.addEventListener("dragover", (event) => files(event) && (event.preventDefault(), over(true)));
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
  document.addEventListener("drop", (event) => {
    over(false);
    if (!files(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
}

/** Nothing here depends on the state. */
export function follow() {}

function take(files) {
  change({ view: "add" }, true);
  for (const file of files) {
    const entry = line(file);
    at("files").append(entry.element);
    queue = queue.then(() => entry.run());
  }
  at("file").value = "";
}

function line(file) {
  const [bar, told, failures] = [
    make("progress", { max: 1, value: 0, "aria-label": file.name }),
    make("p", { role: "status" }, "waits"),
    make("div"),
  ];
  const stopping = new AbortController();
  const stop = button("Stop", () => stopping.abort(), { class: "quiet" });
  const element = make("li", {}, make("strong", {}, file.name), bar, stop, told, failures);
  const counts = nothing();
  let read = 0;
  const tell = (end) => {
    bar.value = read;
    told.textContent = `${sentence(counts)}${end ?? ""}`;
    show(failures, refused(counts));
  };
  const run = async () => {
    try {
      await ingest(
        documents(file, (share) => (read = share)),
        counts,
        () => tell(),
        stopping.signal,
      );
      bar.value = bar.max;
      tell(stored(counts) ? ". All of it can be searched." : "");
    } catch (error) {
      element.classList.add("failed");
      tell(
        `. Stopped: ${error.name === "AbortError" ? "you said so" : error.message}. What is stored stays; drop the file again to go on.`,
      );
    }
    stop.remove();
  };
  return { element, run };
}

const stored = (counts) => counts.created + counts.updated + counts.unchanged;

function sentence(counts) {
  const parts = ["created", "updated", "unchanged", "failed", "truncated"].filter((name) => counts[name]);
  const names = {
    created: "new",
    updated: "changed",
    unchanged: "unchanged",
    failed: "refused",
    truncated: "longer than the model reads",
  };
  return `${many(stored(counts), "document")} safely on disk${parts.length ? ": " : ""}${parts.map((name) => `${count(counts[name])} ${names[name]}`).join(", ")}`;
}

function refused({ failed, failures }) {
  if (!failed) return null;
  const entries = failures.map(({ line, id, detail }) =>
    make("li", {}, `${line ? `line ${line}` : ""}${id ? ` (${id})` : ""}: ${detail}`),
  );
  return make("details", {}, make("summary", {}, `${count(failed)} refused`), make("ul", {}, ...entries));
}

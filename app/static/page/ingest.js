// Storing documents in batches: each is durable and searchable once it is answered.

import { ask, Problem } from "./api.js";

const DOCUMENTS = 100; // of a batch
const CHARACTERS = 500_000;
const NDJSON = "application/x-ndjson";
const PATIENCE = 20; // times that a busy service is asked again
const MOST = 100; // failures that are kept

/** Counts of what became of the documents; failures are {line, id, detail}. */
export const nothing = () => ({ created: 0, updated: 0, unchanged: 0, failed: 0, truncated: 0, failures: [] });

/** Store what `source` yields; `told(counts)` after each batch. Throws Problem, AbortError, or what the source throws. */
export async function ingest(source, counts, told, signal) {
  let [batch, size] = [[], 0];
  for await (const { line, document, error } of source) {
    signal.throwIfAborted();
    if (error) failed(counts, { line, id: null, detail: error });
    else batch.push({ line, text: JSON.stringify(document) });
    size += batch.at(-1)?.text.length ?? 0;
    if (batch.length < DOCUMENTS && size < CHARACTERS) continue;
    await store(batch, counts, signal);
    told(counts);
    [batch, size] = [[], 0];
  }
  if (batch.length) await store(batch, counts, signal);
  told(counts);
}

async function store(batch, counts, signal) {
  const report = await patiently(batch.map((one) => `${one.text}\n`).join(""), signal);
  for (const name of ["created", "updated", "unchanged", "truncated"]) counts[name] += report[name];
  for (const { line, id, detail } of report.failures) failed(counts, { line: batch[line - 1].line, id, detail });
}

function failed(counts, failure) {
  counts.failed += 1;
  if (counts.failures.length < MOST) counts.failures.push(failure);
}

/** The report of a batch; a service that is busy is asked again after as long as it says. */
async function patiently(body, signal) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask("POST", "ingest", body, { type: NDJSON, signal });
    } catch (problem) {
      if (problem instanceof Problem && problem.slug === "none-stored") return problem.body;
      if (![429, 503].includes(problem.status) || attempt >= PATIENCE) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 1000 * problem.retryAfter));
    }
  }
}

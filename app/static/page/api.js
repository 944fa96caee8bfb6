// Requests to this service, and its problems (RFC 9457) as errors.

import { ask as askForKey, headers } from "./key.js";

/** What the service answered instead of what was asked for; `slug` is the last part of its type. */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail ?? body.title ?? `The service answered ${status}.`);
    this.status = status;
    this.slug = (body.type ?? "").split("/").pop();
    this.title = body.title ?? "";
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

export const get = (path, options) => ask("GET", path, undefined, options);
export const post = (path, body, options) => ask("POST", path, JSON.stringify(body), options);
export const remove = (path, options) => ask("DELETE", path, undefined, options);

/** The JSON of an answer; Problem for one that is none, AbortError when `signal` says so. */
export async function ask(method, path, body, { signal, type = "application/json" } = {}) {
  const sent = body === undefined ? headers() : { ...headers(), "content-type": type };
  const answer = await reached(fetch(path, { method, body, signal, headers: sent }));
  const text = await reached(answer.text());
  if (answer.ok) return JSON.parse(text);
  const problem = new Problem(answer.status, parsed(text), Number(answer.headers.get("retry-after")) || 1);
  if (problem.status === 401) askForKey(problem.message);
  throw problem;
}

/** The address of a document; an id may hold anything. */
export const documentPath = (id) => `documents/${encodeURIComponent(id)}`;

async function reached(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, {
      title: "No answer",
      detail: "The service does not answer: is it running?",
      type: "/offline",
    });
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

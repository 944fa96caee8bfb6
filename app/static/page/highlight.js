// The words of a question, marked in a text.

import { make } from "./dom.js";

const WORD = /[\p{L}\p{N}]+/gu;
const LEAST = 3; // letters of a word worth marking
const STEM = 5; // letters that two forms of a word share: "searching", "searched"
const BEFORE = 60; // characters of a passage before its first mark

/** The text as nodes, with a <mark> around each word of the question. */
export function marked(text, question) {
  const wanted = stems(question);
  const nodes = [];
  let end = 0;
  for (const match of wanted.size ? text.matchAll(WORD) : []) {
    if (!wanted.has(stem(match[0]))) continue;
    nodes.push(text.slice(end, match.index), make("mark", {}, match[0]));
    end = match.index + match[0].length;
  }
  return [...nodes, text.slice(end)];
}

/** About `most` characters of a text, from a little before the first word of the question. */
export function passage(text, question, most = 260) {
  const flat = text.replace(/\s+/gu, " ").trim();
  if (flat.length <= most) return flat;
  const wanted = stems(question);
  const first = [...flat.matchAll(WORD)].find((match) => wanted.has(stem(match[0])))?.index ?? 0;
  const from = first < BEFORE * 2 ? 0 : flat.indexOf(" ", first - BEFORE) + 1;
  const to = from + most >= flat.length ? flat.length : flat.lastIndexOf(" ", from + most);
  return `${from ? "… " : ""}${flat.slice(from, to > from ? to : from + most)}${to < flat.length ? " …" : ""}`;
}

const stem = (word) => word.toLowerCase().slice(0, STEM);
const stems = (question) => new Set((question.match(WORD) ?? []).filter((word) => word.length >= LEAST).map(stem));

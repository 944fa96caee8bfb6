// Files -> documents: lines of JSON, tables, passages of texts.

import { csv } from "./csv.js";
import { passages } from "./passages.js";
import { fromCells, fromJson } from "./record.js";

const PIECE = 4096; // characters
const KINDS = {
  jsonl: records,
  ndjson: records,
  json: records,
  csv: table(","),
  tsv: table("\t"),
  txt: prose,
  md: prose,
  markdown: prose,
};

/** What the file dialog offers. */
export const ACCEPTED = Object.keys(KINDS)
  .flatMap((kind) => [`.${kind}`, `.${kind}.gz`])
  .join(",");

/** The documents of a file, each {line, document} or {line, error}; `read(share)` is told how far it is. */
export async function* documents(file, read) {
  const name = file.name.replace(/\.gz$/i, "");
  const kind = name.split(".").pop().toLowerCase();
  if (!Object.hasOwn(KINDS, kind))
    throw new Error(`.${kind} is no kind of file that can be read here; known are ${Object.keys(KINDS).join(", ")}`);
  yield* KINDS[kind](pieces(file, read), name, read);
}

/** The text of a file in small pieces; told is the share of it that was taken, for streams read ahead. */
async function* pieces(file, read) {
  const packed = /\.gz$/i.test(file.name);
  let [bytes, decoded, taken] = [0, 0, 0];
  const counted = new TransformStream({
    transform(chunk, out) {
      bytes += chunk.length;
      out.enqueue(chunk);
    },
  });
  const stream = file.stream().pipeThrough(counted);
  const plain = packed ? stream.pipeThrough(new DecompressionStream("gzip")) : stream;
  const reader = plain.pipeThrough(new TextDecoderStream("utf-8", { fatal: true })).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    decoded += encoded(part.value);
    for (let from = 0; from < part.value.length; from += PIECE) {
      const piece = part.value.slice(from, from + PIECE);
      yield piece;
      taken += encoded(piece);
      read(packed ? (bytes / file.size) * (taken / decoded) : taken / file.size);
    }
  }
}

const encoded = (text) => new TextEncoder().encode(text).length;

async function* records(text, name) {
  let [line, rest] = [0, ""];
  for await (const piece of text) {
    const whole = (rest + piece).split("\n");
    rest = whole.pop();
    for (const one of whole) yield* record(one, ++line, name);
  }
  yield* record(rest, line + 1, name);
}

function* record(text, line, name) {
  if (text.trim()) yield tried(line, () => fromJson(text, `${name}#${line}`));
}

function table(separator) {
  return async function* (text, name) {
    let columns = null;
    for await (const { line, cells } of csv(text, separator)) {
      if (columns === null) columns = cells.map((cell) => cell.trim());
      else if (cells.length > 1 || cells[0]) yield tried(line, () => fromCells(columns, cells, `${name}#${line}`));
    }
  };
}

function tried(line, make) {
  try {
    return { line, document: make() };
  } catch (error) {
    return { line, error: error.message };
  }
}

async function* prose(text, name, read) {
  let whole = "";
  for await (const piece of text) whole += piece;
  const found = passages(whole.replace(/\r\n?/g, "\n"), name, /\.(md|markdown)$/i.test(name));
  for (const [place, passage] of found.entries()) {
    read(place / found.length);
    yield {
      line: place + 1,
      document: { id: `${name}#${place + 1}`, ...passage, metadata: { file: name, passage: place + 1 } },
    };
  }
}

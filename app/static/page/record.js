// A record of a file -> a document, by the rules of `funnel ingest`: _id or id, text, title, metadata, vector; every
// other field is metadata, too. What a browser could not keep as it is, is refused.

const TEXTS = ["_id", "id", "text", "title"];
const JSONS = ["metadata", "vector"]; // a cell of these holds JSON
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?$/;

/** The document of a line of JSON; an Error says why there is none. */
export const fromJson = (text, place) => documentOf(JSON.parse(text, kept), place);

/** The document of a row of a table; cells that are how a number is written become numbers. */
export function fromCells(columns, cells, place) {
  if (cells.length !== columns.length) throw new Error(`expected ${columns.length} columns, got ${cells.length}`);
  const pairs = columns.map((column, at) => [column, cells[at]]).filter(([, cell]) => cell !== "");
  return documentOf(Object.fromEntries(pairs.map(([column, cell]) => [column, read(column, cell)])), place);
}

function read(column, cell) {
  if (JSONS.includes(column)) return JSON.parse(cell, kept);
  return TEXTS.includes(column) || !NUMBER.test(cell) ? cell : number(cell);
}

function documentOf(given, place) {
  if (!isObject(given)) throw new Error(`a document is an object, got ${JSON.stringify(given).slice(0, 40)}`);
  const { _id, id, text, title, metadata, vector, ...others } = given;
  if (!text && !title && !vector) throw new Error("field 'text' must be a text");
  if (metadata != null && !isObject(metadata)) throw new Error("field 'metadata' must be an object");
  const named = [_id, id].find((one) => one != null && one !== "") ?? place;
  return {
    id: typeof named === "number" ? String(named) : named,
    text: text ?? "",
    ...(title == null ? {} : { title }),
    ...(vector == null ? {} : { vector }),
    metadata: { ...others, ...metadata },
  };
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** A browser's numbers have 53 bits: an integer beyond them would be stored as another one. */
function kept(_, value, context) {
  return typeof value === "number" && Number.isInteger(value) ? number(context?.source ?? String(value)) : value;
}

function number(text) {
  const value = Number(text);
  if (/^-?\d+$/.test(text) && !Number.isSafeInteger(value))
    throw new Error(`${text} is too long for a browser: use funnel ingest`);
  return value;
}

// Numbers as people read them.

const whole = new Intl.NumberFormat("en");
const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** 63436 -> "63,436". */
export const count = (number) => whole.format(number);

/** 1 document, 2 documents. */
export const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** 307200 -> "307 KB". */
export function bytes(number) {
  const power = number < 1 ? 0 : Math.min(Math.floor(Math.log10(number) / 3), UNITS.length - 1);
  return `${figures(number / 1000 ** power)} ${UNITS[power]}`;
}

/** 0.362 -> "0.36 ms". */
export const ms = (number) => (number < 1000 ? `${figures(number)} ms` : `${figures(number / 1000)} s`);

/** 0.9876 -> "98.8 %". */
export const percent = (share) => `${Number((100 * share).toFixed(1))} %`;

/** A metadata value in a few characters. */
export function value(given) {
  return cut(typeof given === "string" ? given : JSON.stringify(given), 60);
}

/** The beginning of a text, by whole characters. */
export function cut(text, most) {
  const characters = Array.from(text.slice(0, 2 * most + 2));
  return characters.length > most
    ? `${characters
        .slice(0, most - 1)
        .join("")
        .trimEnd()}…`
    : text;
}

const figures = (number) => (number >= 100 ? count(Math.round(number)) : String(Number(number.toPrecision(2))));

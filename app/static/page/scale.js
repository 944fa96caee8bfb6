// A logarithmic scale between 1 and something.

/** Where a number is between `least` and `most`: 0 to 1. */
export const placeOf = (number, least, most) =>
  most <= least ? 0 : Math.log(Math.max(number, least) / least) / Math.log(most / least);

/** The number at a place from 0 to 1, of two figures unless it is an end. */
export function numberAt(place, least, most) {
  if (place <= 0) return least;
  if (place >= 1) return most;
  const number = least * (most / least) ** place;
  return Math.min(Math.max(rounded(number), least), most);
}

/** 1, 10, 100, ... up to `most`. */
export const powers = (most) =>
  Array.from({ length: Math.floor(Math.log10(most) + 1e-9) + 1 }, (_, power) => 10 ** power);

/** A number of two figures, not below the given one. */
export function above(number) {
  const unit = 10 ** Math.max(Math.floor(Math.log10(number)) - 1, 0);
  return Math.ceil(number / unit) * unit;
}

function rounded(number) {
  const unit = 10 ** Math.max(Math.floor(Math.log10(number)) - 1, 0);
  return Math.round(number / unit) * unit;
}

// CSV (RFC 4180): quoted fields may hold separators, quotes written twice, and line ends. TSV: quotes are text.

/** The records of a text that arrives in pieces, each {line, cells}. */
export async function* csv(pieces, separator) {
  let [cell, cells, quoted, closing, line, from] = ["", [], false, false, 1, 1];
  const ended = () => {
    const record = { line: from, cells: [...cells, cell] };
    [cell, cells, closing, from] = ["", [], false, line];
    return record;
  };
  for await (const piece of pieces) {
    for (const one of piece) {
      if (one === "\n") line += 1;
      if (quoted && !closing) {
        one === '"' ? (closing = true) : (cell += one);
      } else if (closing && one === '"') {
        [cell, closing] = [cell + one, false];
      } else if (one === '"' && cell === "" && separator !== "\t") {
        quoted = true;
      } else if (one === separator) {
        [cells, cell, quoted, closing] = [[...cells, cell], "", false, false];
      } else if (one === "\n") {
        quoted = false;
        yield ended();
      } else if (one !== "\r") {
        cell += one;
      }
    }
  }
  if (quoted && !closing) throw new Error(`the quote opened in the record of line ${from} is never closed`);
  if (cell !== "" || cells.length) yield ended();
}

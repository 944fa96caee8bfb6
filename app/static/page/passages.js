// Plain text and Markdown: passages of paragraphs, not longer than a model reads well.

const LONGEST = 1200; // characters: below 256 tokens of English
const HEADING = /^#{1,6}\s+(\S.*?)\s*#*$/;
const FENCE = /^\s*(```|~~~)/; // around code, which has no headings

/** The passages of a text, each {title, text}; a heading of Markdown begins a new one and is its title. */
export function passages(text, name, markdown) {
  const found = [];
  let [title, body] = [name, ""];
  const end = () => {
    if (body) found.push({ title, text: body });
    body = "";
  };
  for (const { heading, paragraph } of blocks(text, markdown)) {
    if (heading) {
      end();
      title = heading;
      continue;
    }
    for (const part of parted(paragraph)) {
      if (body.length + part.length > LONGEST) end();
      body = body ? `${body}\n\n${part}` : part;
    }
  }
  end();
  return found;
}

/** The headings and the paragraphs of a text. */
function* blocks(text, markdown) {
  let [lines, fenced] = [[], false];
  for (const line of [...text.split("\n"), ""]) {
    if (markdown && FENCE.test(line)) fenced = !fenced;
    const heading = markdown && !fenced ? line.match(HEADING)?.[1] : null;
    if (!heading && line.trim()) {
      lines.push(line);
      continue;
    }
    if (lines.length) yield { paragraph: lines.join("\n").trim() };
    lines = [];
    if (heading) yield { heading };
  }
}

/** A paragraph in pieces of whole sentences, or of words where a sentence is too long. */
function parted(paragraph) {
  if (paragraph.length <= LONGEST) return [paragraph];
  const near = paragraph.lastIndexOf(". ", LONGEST) + 1 || paragraph.lastIndexOf(" ", LONGEST);
  const end = near > 0 ? near : LONGEST;
  return [paragraph.slice(0, end), ...parted(paragraph.slice(end).trim())];
}

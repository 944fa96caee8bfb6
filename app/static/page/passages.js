// Plain text and Markdown: passages of paragraphs, not longer than a model reads well.

const LONGEST = 1200; // characters: below 256 tokens of English

/** The passages of a text, each {title, text}; a heading of Markdown begins a new one and is its title. */
export function passages(text, name, markdown) {
  const found = [];
  let [title, body] = [name, ""];
  const end = () => {
    if (body) found.push({ title, text: body });
    body = "";
  };
  for (const paragraph of text
    .split(/\n\s*\n|(?=^#{1,6} )/m)
    .map((part) => part.trim())
    .filter(Boolean)) {
    const [, heading, rest] = (markdown && paragraph.match(/^#{1,6}\s+([^\n]+)\n?([^]*)$/)) || [null, null, paragraph];
    if (heading) {
      end();
      title = heading.replace(/\s*#+$/, "");
    }
    for (const part of parted(rest)) {
      if (body.length + part.length > LONGEST) end();
      body = body ? `${body}\n\n${part}` : part;
    }
  }
  end();
  return found;
}

/** A paragraph in pieces of whole sentences, or of words where a sentence is too long. */
function parted(paragraph) {
  if (paragraph.length <= LONGEST) return paragraph ? [paragraph] : [];
  const near = Math.max(paragraph.lastIndexOf(". ", LONGEST) + 1, 0) || paragraph.lastIndexOf(" ", LONGEST);
  const end = near > 0 ? near : LONGEST;
  return [paragraph.slice(0, end), ...parted(paragraph.slice(end).trim())];
}

// Elements made by script. Whatever a document says goes in as text nodes, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id of index.html. */
export const at = (id) => document.getElementById(id);

/** An HTML element; `onclick` and the like are listeners, null children are left out. */
export const make = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);

/** The same for SVG. */
export const draw = (name, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, name), attributes, children);

/** Put children in the place of what an element holds; what had the focus gets it back if it is there again. */
export function show(element, ...children) {
  const held = element.contains(document.activeElement) && known(document.activeElement);
  element.replaceChildren(...present(children));
  if (held) [...element.querySelectorAll("button, input, summary")].find((one) => known(one) === held)?.focus();
  return element;
}

const known = (one) => one.getAttribute("aria-label") ?? `${one.name}=${one.value} ${one.textContent}`;

/** A button that does something. */
export const button = (text, onclick, attributes = {}) =>
  make("button", { type: "button", onclick, ...attributes }, text);

/** Call `work` once nothing has been asked for `wait` milliseconds. */
export function settled(work, wait) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...present(children));
  return element;
}

const present = (children) => children.flat().filter((child) => child != null && child !== false);

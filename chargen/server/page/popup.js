// Small boxes beside a place of the text, and how probabilities and characters are shown.

/** @typedef {{left: number, top: number, bottom: number}} Spot */

const NAMES = new Map([[" ", "space"], ["\n", "newline"], ["\t", "tab"], ["", "nothing"]]);
const GAP = 6; // pixels

/** A box beside a place of the text. */
export class Popup {
  /**
   * @param {HTMLElement} box
   * @param {HTMLElement} sheet that the places are relative to
   */
  constructor(box, sheet) {
    this.box = box;
    this.sheet = sheet;
  }

  /** @returns {boolean} */
  get open() {
    return !this.box.hidden;
  }

  /**
   * Show something below a place, or above it if there is no room.
   * @param {Spot} spot
   * @param {...Node} content
   */
  show(spot, ...content) {
    this.box.replaceChildren(...content);
    this.box.hidden = false;
    const sheet = this.sheet.getBoundingClientRect();
    const { offsetWidth, offsetHeight } = this.box;
    const left = Math.min(sheet.left + spot.left, innerWidth - offsetWidth - GAP);
    const below = sheet.top + spot.bottom + GAP;
    const fits = below + offsetHeight < innerHeight;
    const top = fits ? below : sheet.top + spot.top - offsetHeight - GAP;
    this.box.style.left = `${Math.max(GAP, left)}px`;
    this.box.style.top = `${Math.max(GAP, top)}px`;
  }

  /** Hide the box. */
  hide() {
    this.box.hidden = true;
    this.box.replaceChildren();
  }
}

/**
 * Return how a short text is shown: without control characters, spaces visible.
 * @param {string} text
 * @returns {string}
 */
export function named(text) {
  const shown = NAMES.get(text) ?? text.toWellFormed()
    .replace(/[\0-\x1f]/g, (control) => String.fromCharCode(0x2400 + control.charCodeAt(0)))
    .replace(/[\x7f-\x9f]/g, "\ufffd")
    .replaceAll(" ", "␣");
  return /^\p{M}/u.test(shown) ? `◌${shown}` : shown;
}

/**
 * Return a row with a text, its probability and a bar.
 * @param {string} text
 * @param {string} rest shown in grey after it
 * @param {number} probability
 * @returns {HTMLElement}
 */
export function probabilityRow(text, rest, probability) {
  const row = element("div", "row");
  const words = element("bdi", "words");
  words.append(element("b", "", text), element("span", "rest", rest));
  const bar = element("span", "bar");
  const filled = element("span", "filled");
  filled.style.width = `${100 * probability}%`;
  bar.append(filled);
  row.append(words, element("span", "percent", percent(probability)), bar);
  return row;
}

/**
 * @param {number} probability
 * @returns {string}
 */
export function percent(probability) {
  return probability < 0.001 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

/**
 * Return a new element.
 * @param {string} tag
 * @param {string} [name] CSS class
 * @param {string} [text]
 * @returns {HTMLElement}
 */
export function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

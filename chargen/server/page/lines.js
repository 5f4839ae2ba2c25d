// A hidden copy of the text below the text area, a block per line, in the same font and width.
//
// A text area does not tell where a character stands, and cannot colour one. The copy does both,
// and gives the text area its height. A key changes one block: the browser lays out only that one
// again, however long the text is.

/** @typedef {{text: string, name: string, token: number}} Part of a line, with its CSS class */

/** The copy. */
export class Lines {
  /** @param {HTMLElement} box */
  constructor(box) {
    this.box = box;
    /** @type {number[]} characters of each line, without its newline */
    this.lengths = [0];
    this.blocks = [block("")];
    box.replaceChildren(...this.blocks);
  }

  /**
   * Return the line of a place and the place of that line's beginning.
   * @param {number} place
   * @returns {{line: number, start: number}}
   */
  find(place) {
    let line = 0, start = 0;
    while (line < this.lengths.length - 1 && place > start + this.lengths[line]) {
      start += this.lengths[line++] + 1;
    }
    return { line, start };
  }

  /**
   * Follow a change of the text.
   * @param {string} text after the change
   * @param {import("./splice.js").Splice} splice
   */
  update(text, { at, removed, inserted }) {
    const { line, start } = this.find(at);
    const count = removed.split("\n").length;
    const old = this.lengths.slice(line, line + count).reduce((sum, length) => sum + length + 1, 0);
    const end = start + old - 1 + inserted.length - removed.length;
    const fresh = text.slice(start, end).split("\n");
    const node = this.blocks[line].firstChild;
    if (count === 1 && fresh.length === 1 && node instanceof Text && !node.nextSibling) {
      node.replaceData(at - start, removed.length, inserted); // the browser keeps the rest as it is
      this.lengths[line] = node.length;
      if (!node.length) fill(this.blocks[line], "");
    } else {
      this.#replace(line, count, fresh);
    }
  }

  /**
   * Replace whole lines.
   * @param {number} line
   * @param {number} count
   * @param {string[]} fresh
   */
  #replace(line, count, fresh) {
    const blocks = fresh.map(block);
    const made = document.createDocumentFragment();
    for (const one of blocks) made.append(one);
    this.blocks[line].before(made);
    for (const one of this.blocks.slice(line, line + count)) one.remove();
    this.blocks = [...this.blocks.slice(0, line), ...blocks, ...this.blocks.slice(line + count)];
    const lengths = fresh.map((content) => content.length);
    this.lengths = [...this.lengths.slice(0, line), ...lengths, ...this.lengths.slice(line + count)];
  }

  /**
   * Return where a place stands, relative to the copy; a line has its whole height.
   * @param {number} place
   * @returns {{left: number, top: number, bottom: number}}
   */
  position(place) {
    const { line, start } = this.find(place);
    const { left, top, bottom } = this.#rect(this.blocks[line], place - start);
    const own = this.box.getBoundingClientRect();
    const half = parseFloat(getComputedStyle(this.box).lineHeight) / 2;
    const middle = (top + bottom) / 2 - own.top;
    return { left: left - own.left, top: middle - half, bottom: middle + half };
  }

  /**
   * Return the rectangle of a place in a line: on the left of its character, or after the last.
   * @param {Element} element
   * @param {number} column
   * @returns {{left: number, top: number, bottom: number}}
   */
  #rect(element, column) {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    let rest = column, last = null;
    for (let found = walker.nextNode(); found; found = walker.nextNode()) {
      last = /** @type {Text} */ (found);
      if (rest <= last.length) break;
      rest -= last.length;
    }
    if (!last) return element.getBoundingClientRect();
    const range = document.createRange();
    range.setStart(last, Math.min(rest, last.length));
    return [...range.getClientRects()].at(-1) ?? element.getBoundingClientRect();
  }

  /**
   * Colour the parts of a line.
   * @param {number} line
   * @param {Part[]} parts their texts joined are the line, with its newline or without
   */
  colour(line, parts) {
    const made = parts.map(({ text, name, token }) => {
      const made = document.createElement("i");
      made.className = /^\n+$/.test(text) ? `${name} newline` : name;
      made.dataset.token = String(token);
      made.textContent = text.replaceAll("\n", ""); // the block of the line ends it
      return made;
    });
    const rest = this.lengths[line] ? [] : [document.createElement("br")];
    this.blocks[line].replaceChildren(...made, ...rest);
  }

  /**
   * Take the colours off all lines from one on.
   * @param {string} text
   * @param {number} first
   */
  plain(text, first) {
    let start = this.lengths.slice(0, first).reduce((sum, length) => sum + length + 1, 0);
    for (let line = first; line < this.blocks.length; line++) {
      const length = this.lengths[line];
      if (this.blocks[line].querySelector("i")) {
        fill(this.blocks[line], text.slice(start, start + length));
      }
      start += length + 1;
    }
  }
}

/**
 * Return a new line.
 * @param {string} content
 * @returns {HTMLElement}
 */
function block(content) {
  const made = document.createElement("div");
  fill(made, content);
  return made;
}

/**
 * @param {Element} element
 * @param {string} content
 */
function fill(element, content) {
  if (content) element.textContent = content;
  else element.replaceChildren(document.createElement("br"));
}

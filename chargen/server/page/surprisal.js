// Surprisal of the text as colour, with the most likely guesses at each place.

import { named, probabilityRow } from "./popup.js";
import { Query } from "./query.js";

const LONGEST = 5000; // characters that are coloured: the paragraph of the cursor and those before
const CONTEXT = 500; // characters before them that the model reads first
const PAUSE = 700; // milliseconds after a change
const GUESSES = 5;
const STEPS = [2, 4, 6, 8]; // bits per character from which each colour counts

/** @typedef {{text: string, probability: number}} Guess */
/** @typedef {{start: number, text: string, bits: number, guesses: Guess[]}} Scored */

/** Colours of an editor, turned on and off. Event: `scored` with a sentence. */
export class Surprisal extends Query {
  /** @param {ConstructorParameters<typeof Query>} parts */
  constructor(...parts) {
    super(...parts);
    this.on = false;
    /** @type {Scored[]} */
    this.tokens = [];
    this.timer = 0;
    this.#listen();
  }

  #listen() {
    const { editor } = this;
    editor.addEventListener("change", (event) => {
      if (this.on) this.#forget(/** @type {CustomEvent} */ (event).detail.splice.at);
    });
    editor.addEventListener("move", () => this.on && this.#showAt(editor.cursor));
    editor.area.addEventListener("pointermove", (event) => this.on && this.#point(event));
    editor.area.addEventListener("pointerleave", () => this.on && this.popup.hide());
  }

  /** Turn the colours on or off. */
  toggle() {
    this.on = !this.on;
    this.popup.hide();
    if (this.on) this.score();
    else this.#forget(0);
  }

  /**
   * Forget the colours from a place on; they depend on the text before them.
   * @param {number} place
   */
  #forget(place) {
    const { lines, text } = this.editor;
    this.popup.hide();
    this.request.abort();
    this.tokens = this.tokens.filter((token) => token.start + token.text.length <= place);
    const { line, start } = lines.find(place);
    lines.plain(text, line);
    this.tokens = this.tokens.filter((token) => token.start < start);
    clearTimeout(this.timer);
    if (this.on) this.timer = setTimeout(() => this.score(), PAUSE);
  }

  /** Score and colour the selection, or the text around the cursor. */
  async score() {
    const { start, end } = this.#range();
    if (start === end) return;
    const from = Math.max(0, start - CONTEXT);
    const text = this.editor.text.slice(from, end).toWellFormed();
    const body = { ...this.models.request(), text, top: GUESSES };
    await this.ask(async (signal) => {
      const answer = await this.api.json("/v1/surprisal", body, signal);
      if (!signal.aborted) this.#colour(placed(answer.tokens, text, from), start);
    });
  }

  /** @returns {{start: number, end: number}} */
  #range() {
    const { selection, text, lines } = this.editor;
    if (selection.start < selection.end) {
      return { start: selection.start, end: Math.min(selection.end, selection.start + LONGEST) };
    }
    const { line, start } = lines.find(Math.max(selection.end, Math.min(text.length, LONGEST)));
    const end = Math.min(start + lines.lengths[line] + 1, text.length);
    return { start: Math.max(0, end - LONGEST), end };
  }

  /**
   * @param {Scored[]} tokens
   * @param {number} first
   */
  #colour(tokens, first) {
    this.tokens = tokens.filter((token) => token.start >= first);
    const { lines, text } = this.editor;
    lines.plain(text, 0);
    for (let n = 0; n < this.tokens.length; ) n = this.#colourLine(n);
    const bits = this.tokens.reduce((sum, token) => sum + token.bits, 0);
    const characters = this.tokens.reduce((sum, token) => sum + [...token.text].length, 0);
    const detail = `${(bits / Math.max(1, characters)).toFixed(2)} bits per character`;
    this.dispatchEvent(new CustomEvent("scored", { detail }));
  }

  /**
   * Colour the line of a token.
   * @param {number} first
   * @returns {number} the first token of the next line
   */
  #colourLine(first) {
    const { lines, text } = this.editor;
    const { line, start } = lines.find(this.tokens[first].start);
    const end = start + lines.lengths[line];
    const parts = [{ text: text.slice(start, this.tokens[first].start), name: "", token: -1 }];
    let n = first;
    for (; n < this.tokens.length && this.tokens[n].start <= end; n++) {
      const token = this.tokens[n];
      parts.push({ text: token.text, name: `heat${level(token)}`, token: n });
    }
    const last = this.tokens[n - 1];
    const rest = text.slice(last.start + last.text.length, end);
    parts.push({ text: rest, name: "", token: -1 });
    lines.colour(line, parts.filter((part) => part.text));
    return n;
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const below = document.elementsFromPoint(event.clientX, event.clientY);
    const found = below.find((element) => element instanceof HTMLElement && element.dataset.token);
    const token = this.tokens[Number(/** @type {HTMLElement} */ (found)?.dataset.token ?? -1)];
    if (token) this.#show(token);
    else this.popup.hide();
  }

  /** @param {number} place */
  #showAt(place) {
    const token = this.tokens.findLast(({ start }) => start <= place);
    if (token && place < token.start + token.text.length) this.#show(token);
    else this.popup.hide();
  }

  /** @param {Scored} token */
  #show(token) {
    const head = document.createElement("p");
    head.textContent = `${named(token.text)}: ${token.bits.toFixed(2)} bits. Most likely here:`;
    const rows = token.guesses.map(({ text, probability }) => {
      const row = probabilityRow(named(text), "", probability);
      row.classList.toggle("actual", text === token.text);
      return row;
    });
    this.popup.show(this.editor.lines.position(token.start), head, ...rows);
  }
}

/**
 * Return tokens with their places, as far as they are the text: a model may read it otherwise.
 * @param {{text: string, bits: number, guesses: Guess[]}[]} tokens
 * @param {string} text
 * @param {number} from
 * @returns {Scored[]}
 */
function placed(tokens, text, from) {
  const found = [];
  let at = 0;
  for (const token of tokens) {
    if (!token.text || !text.startsWith(token.text, at)) break;
    found.push({ ...token, start: from + at });
    at += token.text.length;
  }
  return found;
}

/**
 * @param {Scored} token
 * @returns {number} of its colour; 0 is none
 */
function level({ bits, text }) {
  return STEPS.filter((least) => bits / [...text].length >= least).length;
}

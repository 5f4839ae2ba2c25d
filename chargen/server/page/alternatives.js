// Alternatives: the most likely next characters with their probabilities, each up to a word's end.

import { named, percent, probabilityRow } from "./popup.js";
import { Query } from "./query.js";
import { clean, lastPart } from "./splice.js";

const COUNT = 8;
const CONTEXT = 2000; // characters before the cursor that the model reads
const SHORT = 200; // of these for the ends of the words, which are read once per alternative
const LONGEST = 14; // characters that may end a word

/** @typedef {{first: string, rest: string, probability: number}} Alternative */

/** The list at the cursor. */
export class Alternatives extends Query {
  /** @param {ConstructorParameters<typeof Query>} parts */
  constructor(...parts) {
    super(...parts);
    /** @type {Alternative[]} */
    this.shown = [];
    this.chosen = 0;
    this.popup.box.addEventListener("keydown", (event) => this.#key(event));
    this.popup.box.addEventListener("blur", () => this.close());
    this.editor.addEventListener("change", () => this.close());
  }

  /** Show the list at the cursor. */
  async open() {
    this.close();
    const text = this.editor.text.slice(0, this.editor.cursor).toWellFormed();
    await this.ask(async (signal) => {
      await this.#firsts(lastPart(text, CONTEXT), signal);
      await this.#words(lastPart(text, SHORT), signal);
    });
  }

  /** Close the list. */
  close() {
    this.request.abort();
    this.popup.hide();
  }

  /**
   * Show the next characters.
   * @param {string} prompt
   * @param {AbortSignal} signal
   */
  async #firsts(prompt, signal) {
    const body = { ...this.models.request(), prompt: this.models.record(prompt), top: COUNT };
    const { next } = await this.api.json("/v1/next", body, signal);
    this.shown = next.filter(isText).map((/** @type {any} */ { text, probability }) => (
      { first: clean(text), rest: "", probability }
    ));
    this.chosen = 0;
    this.#show();
    this.popup.box.focus({ preventScroll: true });
  }

  /**
   * Continue each one greedily up to the end of its word.
   * @param {string} prompt
   * @param {AbortSignal} signal
   */
  async #words(prompt, signal) {
    const body = {
      ...this.models.request(),
      prompt: this.shown.map(({ first }) => this.models.record(prompt + first)),
      temperature: 0,
      max_chars: LONGEST,
    };
    const { choices } = await this.api.json("/v1/completions", body, signal);
    for (const { index, text } of choices) {
      const one = this.shown[index];
      one.rest = wordEnd(one.first, clean(text));
    }
    if (this.popup.open) this.#show();
  }

  #show() {
    const rows = this.shown.map(({ first, rest, probability }, number) => {
      const row = probabilityRow(named(first), rest, probability);
      row.id = `alternative-${number}`;
      row.role = "option";
      row.ariaSelected = String(number === this.chosen);
      row.ariaLabel = `${named(first)}${rest}, ${percent(probability)}`;
      row.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        this.#take(number, true);
      });
      return row;
    });
    this.popup.show(this.editor.lines.position(this.editor.cursor), ...rows);
    this.popup.box.setAttribute("aria-activedescendant", `alternative-${this.chosen}`);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const steps = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1, Tab: 1 });
    const count = this.shown.length;
    if (event.key in steps && !event.altKey) {
      this.chosen = (this.chosen + steps[event.key] * (event.shiftKey ? -1 : 1) + count) % count;
      this.#show();
    } else if (event.key === "Enter" || event.key === "ArrowRight") {
      this.#take(this.chosen, event.key === "Enter");
    } else if (event.key === "Escape" || event.key === "ArrowLeft") {
      this.#leave();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * @param {number} number
   * @param {boolean} whole its word, not only its first character
   */
  #take(number, whole) {
    const { first, rest } = this.shown[number];
    this.#leave();
    this.editor.insert(whole ? first + rest : first);
  }

  #leave() {
    this.close();
    this.editor.area.focus({ preventScroll: true });
  }
}

/**
 * Tell whether a token is text by itself: of a byte model it may be a part of a character.
 * @param {{text: string, bytes?: number[]}} token
 * @returns {boolean}
 */
function isText({ text, bytes }) {
  return !bytes || new TextEncoder().encode(text).join() === bytes.join();
}

/**
 * Return the part of a text that ends the word begun before it.
 * @param {string} first
 * @param {string} text
 * @returns {string}
 */
function wordEnd(first, text) {
  const inside = /[\p{L}\p{N}]$/u.test(first);
  return (inside ? /^[\p{L}\p{N}'’-]*/u : /^[ \t]*[\p{L}\p{N}'’-]*/u).exec(text)?.[0] ?? "";
}

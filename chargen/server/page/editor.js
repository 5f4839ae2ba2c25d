// The editor: a plain text area, so that input methods, spelling, selection and screen readers
// work as everywhere, over a copy of its text that knows where characters stand.

import { Lines } from "./lines.js";
import { applied, clean, difference } from "./splice.js";

/** @typedef {import("./splice.js").Splice} Splice */
/** @typedef {"typed" | "accepted" | "generated" | "shown"} Source of a change */

const SEEN = 48; // pixels that stay free below the cursor

/**
 * The text and its cursor. Events: `change` with a splice and its source; `move`, when the cursor
 * moves without a change; `undo`, `redo`, if the browser asks for them (a menu, a gesture).
 */
export class Editor extends EventTarget {
  /**
   * @param {HTMLTextAreaElement} area
   * @param {HTMLElement} copy
   * @param {HTMLElement} scroller
   */
  constructor(area, copy, scroller) {
    super();
    this.area = area;
    this.scroller = scroller;
    this.lines = new Lines(copy);
    this.text = "";
    this.composing = false; // an input method is at work
    this.expected = 0; // where the cursor is known to be
    this.#listen();
  }

  #listen() {
    const { area } = this;
    area.addEventListener("input", () => this.#typed());
    area.addEventListener("compositionstart", () => (this.composing = true));
    area.addEventListener("compositionend", () => {
      this.composing = false;
      this.dispatchEvent(new Event("move"));
    });
    area.addEventListener("beforeinput", (event) => {
      const wanted = { historyUndo: "undo", historyRedo: "redo" }[event.inputType];
      if (!wanted) return;
      event.preventDefault();
      this.dispatchEvent(new Event(wanted));
    });
    document.addEventListener("selectionchange", () => this.#moved());
  }

  /** @returns {number} where the cursor is, or the end of the selection */
  get cursor() {
    return this.area.selectionEnd;
  }

  /** @returns {{start: number, end: number}} */
  get selection() {
    return { start: this.area.selectionStart, end: this.area.selectionEnd };
  }

  /** @returns {boolean} */
  get focused() {
    return document.activeElement === this.area;
  }

  /** Take over what was typed. */
  #typed() {
    const { value } = this.area;
    this.expected = this.cursor;
    if (value !== this.text) this.#changed(difference(this.text, value, this.cursor), "typed");
  }

  #moved() {
    if (!this.focused || this.cursor === this.expected) return;
    this.expected = this.cursor;
    this.dispatchEvent(new Event("move"));
  }

  /**
   * Change the text.
   * @param {Splice} splice
   * @param {Source} source
   * @param {"end" | "preserve"} [cursor] at the end of what was inserted, or where it is
   */
  apply({ at, removed, inserted }, source, cursor = "end") {
    this.area.setRangeText(inserted, at, at + removed.length, cursor);
    this.expected = this.cursor;
    this.#changed({ at, removed, inserted }, source);
    if (cursor === "end") this.reveal();
  }

  /**
   * Replace the selection, as if it had been typed.
   * @param {string} text
   */
  insert(text) {
    const { start, end } = this.selection;
    this.apply({ at: start, removed: this.text.slice(start, end), inserted: text }, "accepted");
  }

  /**
   * Show another text.
   * @param {string} text
   */
  show(text) {
    this.apply(difference(this.text, clean(text)), "shown");
  }

  /**
   * @param {Splice} splice
   * @param {Source} source
   */
  #changed(splice, source) {
    this.text = applied(this.text, splice);
    this.lines.update(this.text, splice);
    this.dispatchEvent(new CustomEvent("change", { detail: { splice, source } }));
  }

  /**
   * Select a part of the text.
   * @param {number} start
   * @param {number} [end]
   */
  select(start, end = start) {
    this.area.setSelectionRange(start, end);
    this.expected = this.cursor;
    this.reveal();
  }

  /** Scroll so that the cursor can be seen. */
  reveal() {
    const { scroller } = this;
    const frame = scroller.getBoundingClientRect();
    const place = this.lines.position(this.cursor);
    const top = this.lines.box.getBoundingClientRect().top;
    const below = top + place.bottom + SEEN - frame.bottom;
    const above = top + place.top - SEEN - frame.top;
    if (below > 0) scroller.scrollTop += below;
    else if (above < 0) scroller.scrollTop += above;
  }
}

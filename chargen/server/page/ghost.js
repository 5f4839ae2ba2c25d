// Ghost text: what the model would go on with, in grey at the cursor.

import { isAbort } from "./api.js";
import { clean, lastPart } from "./splice.js";

// The last 1,000 to 2,000 characters are sent, not the whole text: of 100 KB at each key, most of
// the time would be spent on reading what changes nothing in the next words.
const CONTEXT = 2000;
const PAUSE = 2; // milliseconds after a key; the keys of a held one come closer
const REST = 150; // milliseconds after the cursor was moved
const LONGEST = 48; // characters
const ENOUGH = 12; // characters left, with which no more are asked for

const RIGHT_TO_LEFT = /[\u0590-\u08ff]/;
const CJK = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}";
const WORD = new RegExp(`^\\s*(?:[${CJK}]|[^\\s${CJK}]+)`, "u");

/** Ghost text of an editor. */
export class Ghost {
  /**
   * @param {import("./editor.js").Editor} editor
   * @param {import("./api.js").Api} api
   * @param {HTMLElement} box
   * @param {HTMLElement} words for screen readers
   * @param {import("./models.js").Models} models
   * @param {() => boolean} on
   */
  constructor(editor, api, box, words, models, on) {
    this.editor = editor;
    this.api = api;
    this.box = box;
    this.words = words;
    this.models = models;
    this.on = on;
    this.text = "";
    this.timer = 0;
    this.request = new AbortController();
    this.#listen();
  }

  #listen() {
    this.editor.addEventListener("change", (event) => {
      const { splice, source } = /** @type {CustomEvent} */ (event).detail;
      this.#follow(splice, source);
    });
    this.editor.addEventListener("move", () => this.wait(REST));
    this.editor.area.addEventListener("blur", () => this.hide());
    this.editor.area.addEventListener("focus", () => this.wait(REST));
    this.box.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the text area keeps the focus, and a phone its keyboard
      this.take(true);
    });
    addEventListener("resize", () => this.hide());
  }

  /**
   * Follow a change: keep the rest of the text if its beginning was typed, else ask again.
   * @param {import("./splice.js").Splice} splice
   * @param {string} source
   */
  #follow({ removed, inserted }, source) {
    const rest = this.text.slice(inserted.length);
    const matches = inserted && !removed && this.text.startsWith(inserted) && rest;
    if (source !== "typed" && source !== "accepted") return this.hide();
    if (matches) this.#show(rest);
    if (!matches || rest.length < ENOUGH) this.wait(PAUSE, Boolean(matches));
  }

  /**
   * Ask for text after a pause.
   * @param {number} milliseconds
   * @param {boolean} [keep] what is shown until then
   */
  wait(milliseconds, keep = false) {
    if (!keep) this.hide();
    this.#cancel();
    this.timer = setTimeout(() => this.#ask(), milliseconds);
  }

  /** Hide the text, and ask for no more. */
  hide() {
    this.#cancel();
    this.#show("");
  }

  #cancel() {
    clearTimeout(this.timer);
    this.request.abort();
  }

  /**
   * Take the text, or its next word.
   * @param {boolean} word
   * @returns {boolean} whether there was any
   */
  take(word) {
    if (!this.text) return false;
    this.editor.insert(word ? WORD.exec(this.text)?.[0] ?? this.text : this.text);
    return true;
  }

  async #ask() {
    const asked = this.models.request();
    if (!this.on() || !asked.model || !this.#fits()) return;
    this.request = new AbortController();
    const { signal } = this.request;
    const text = lastPart(this.editor.text.slice(0, this.editor.cursor), CONTEXT).toWellFormed();
    const body = { ...asked, text, max_chars: LONGEST };
    try {
      const answer = await this.api.json("/v1/ghost", body, signal);
      if (!signal.aborted) this.#show(this.#useful(clean(answer.text)));
    } catch (error) {
      if (!isAbort(error)) this.#show(""); // a ghost is no reason for a message
    }
  }

  /** @returns {boolean} whether there is a place for it: a cursor, not inside a word */
  #fits() {
    const { focused, composing, selection, text } = this.editor;
    const { start, end } = selection;
    return focused && !composing && start === end && end > 0 &&
      !/^[\p{L}\p{N}]/u.test(text.slice(end, end + 2));
  }

  /**
   * @param {string} text
   * @returns {string} the text, unless it is there already
   */
  #useful(text) {
    return this.editor.text.startsWith(text, this.editor.cursor) ? "" : text.replace(/\n.*/s, "");
  }

  /** @param {string} text */
  #show(text) {
    this.text = text;
    this.box.hidden = !text;
    this.box.firstElementChild?.replaceChildren(text);
    this.words.textContent = text && `Tab adds: ${text}`;
    if (text) this.#place();
  }

  /** Put the text after the cursor at the end of a line, else below it. */
  #place() {
    const { text, cursor, lines } = this.editor;
    const { line, start } = lines.find(cursor);
    const end = start + lines.lengths[line];
    const spot = lines.position(cursor);
    this.#put(spot, false);
    const wraps = this.box.offsetHeight > 1.5 * (spot.bottom - spot.top);
    const covers = /\S/.test(text.slice(cursor, end)) || (wraps && end < text.length);
    if (covers || RIGHT_TO_LEFT.test(text.slice(start, end))) this.#put(spot, true);
  }

  /**
   * @param {import("./popup.js").Spot} spot
   * @param {boolean} below
   */
  #put({ left, top, bottom }, below) {
    this.box.className = below ? "ghost below" : "ghost";
    this.box.style.top = `${below ? bottom : top}px`;
    this.box.style.textIndent = below ? "" : `${left}px`;
    this.box.style.paddingLeft = below ? `${left}px` : "";
  }
}

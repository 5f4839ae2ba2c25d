// Generation at the cursor: each text is a branch of the tree and grows there.

import { isAbort } from "./api.js";
import { clean, lastPart } from "./splice.js";

const CONTEXT = 10000; // characters before the cursor that the model reads
const FRAME = 40; // milliseconds between two changes of the page; pieces come faster

/** @typedef {{id: number, waiting: string}} Branch that grows */

/** Generates texts into branches. Events: `start`, `stop`, `error` with the error. */
export class Generator extends EventTarget {
  /**
   * @param {import("./document.js").Document} doc
   * @param {import("./api.js").Api} api
   * @param {import("./models.js").Models} models
   * @param {() => Record<string, any>} request sampling parameters
   */
  constructor(doc, api, models, request) {
    super();
    this.doc = doc;
    this.api = api;
    this.models = models;
    this.request = request;
    /** @type {AbortController | null} */
    this.running = null;
    this.timer = 0;
    /** @type {Branch[]} */
    this.branches = [];
    doc.editor.addEventListener("change", (event) => {
      if (/** @type {CustomEvent} */ (event).detail.source === "typed") this.#interrupt();
    });
    doc.editor.area.addEventListener("compositionstart", () => this.#interrupt());
  }

  /** Generate what follows the cursor, or replaces the selection. */
  start() {
    this.stop();
    const { text, selection: { start, end } } = this.doc.editor;
    const parent = this.doc.keep();
    this.#run(parent, { at: start, removed: text.slice(start, end), inserted: "" });
  }

  /** Generate other texts instead of the one that is shown. */
  again() {
    this.stop();
    const here = this.doc.tree.get(this.doc.keep());
    if (!here.generated) return this.start();
    const { at, removed } = here;
    this.#run(here.parent, { at, removed, inserted: "" });
  }

  /** Stop; what was generated stays. */
  stop() {
    if (!this.running) return;
    this.running.abort();
    this.#end();
  }

  /**
   * @param {number} parent
   * @param {import("./splice.js").Splice} splice
   */
  async #run(parent, splice) {
    const { tree } = this.doc;
    const { seed, n, ...body } = { ...this.models.request(), ...this.request() };
    // With a seed each sibling still needs random numbers of its own.
    const seeded = seed === undefined ? {} : { seed: seed + tree.get(parent).children.length };
    const before = tree.textOf(parent).slice(0, splice.at);
    const prompt = this.models.record(lastPart(before, CONTEXT)).toWellFormed();
    this.branches = Array.from({ length: n }, () => (
      { id: tree.add(parent, splice, true), waiting: "" }
    ));
    this.doc.go(this.branches[0].id);
    const running = new AbortController();
    this.running = running;
    this.dispatchEvent(new Event("start"));
    await this.#read({ ...body, ...seeded, n, prompt, stream: true }, running);
    if (this.running === running) this.#end();
  }

  /**
   * @param {object} body
   * @param {AbortController} running
   */
  async #read(body, { signal }) {
    try {
      for await (const event of this.api.stream("/v1/completions", body, signal)) {
        if (signal.aborted) return;
        for (const { index, text } of event.choices ?? []) this.#take(index, text);
      }
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      this.dispatchEvent(new CustomEvent("error", { detail: error }));
    }
  }

  /**
   * @param {number} index
   * @param {string} text
   */
  #take(index, text) {
    this.branches[index].waiting += text;
    this.timer ||= setTimeout(() => this.#flush(), FRAME);
  }

  /** Stop for a key: pieces that are not shown yet belong to a text that has just changed. */
  #interrupt() {
    for (const branch of this.branches) branch.waiting = "";
    this.stop();
  }

  /** Show the pieces that wait. */
  #flush() {
    clearTimeout(this.timer);
    this.timer = 0;
    for (const branch of this.branches) {
      if (branch.waiting) this.doc.grow(branch.id, clean(branch.waiting));
      branch.waiting = "";
    }
  }

  #end() {
    this.#flush();
    this.running = null;
    const empty = this.branches.filter(({ id }) => !this.doc.tree.nodes.get(id)?.inserted);
    this.branches = [];
    for (const { id } of empty) this.doc.remove(id);
    this.dispatchEvent(new Event("stop"));
  }
}

// The document: the text of the editor, its branches, and undo over both.

import { difference } from "./splice.js";
import { History } from "./history.js";

/** What is written. Event: `change` after each change of the text or of the branch shown. */
export class Document extends EventTarget {
  /**
   * @param {import("./editor.js").Editor} editor
   * @param {import("./tree.js").Tree} tree
   */
  constructor(editor, tree) {
    super();
    this.editor = editor;
    this.tree = tree;
    this.history = new History();
    editor.addEventListener("change", (event) => {
      const { splice, source } = /** @type {CustomEvent} */ (event).detail;
      if (source === "typed" || source === "accepted") this.#record(splice, true);
    });
    editor.addEventListener("undo", () => this.undo());
    editor.addEventListener("redo", () => this.redo());
  }

  /**
   * @param {import("./splice.js").Splice} splice
   * @param {boolean} typed
   * @param {number} [from]
   */
  #record(splice, typed, from = this.tree.current) {
    this.history.add(splice, from, this.tree.current, typed);
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Keep what was typed as a branch.
   * @returns {number} the branch shown
   */
  keep() {
    this.tree.keep(this.editor.text);
    return this.tree.current;
  }

  /**
   * Show another branch.
   * @param {number} id
   */
  go(id) {
    const from = this.keep();
    const text = this.tree.textOf(id);
    const cursor = Math.min(this.#end(id), text.length);
    const splice = difference(this.editor.text, text, cursor);
    this.tree.show(id);
    this.editor.apply(splice, "shown");
    this.editor.select(cursor);
    this.#record(splice, false, from);
  }

  /**
   * Return the place where one goes on in a branch: its end, or above the branch shown the place
   * from which that one began.
   * @param {number} id
   * @returns {number}
   */
  #end(id) {
    const path = this.tree.path(this.tree.current);
    const below = path[path.indexOf(id) + 1];
    const { at, inserted } = this.tree.get(id);
    return path.includes(id) && below ? this.tree.get(below).at : at + inserted.length;
  }

  /**
   * Show the branch in a direction, if there is one.
   * @param {"parent" | "child" | "previous" | "next"} direction
   */
  walk(direction) {
    this.keep();
    const id = this.tree.toward(direction);
    if (id !== null) this.go(id);
  }

  /**
   * Begin another text beside the ones before; nothing is lost.
   * @param {string} text
   */
  begin(text) {
    this.keep();
    this.go(0);
    if (text) this.go(this.tree.add(0, { at: 0, removed: "", inserted: text }, false));
    this.editor.select(0);
  }

  /**
   * Add to a branch, and to the text if it is the one shown.
   * @param {number} id
   * @param {string} text
   */
  grow(id, text) {
    if (!this.tree.nodes.has(id)) return;
    const { at, inserted } = this.tree.get(id);
    const end = at + inserted.length;
    this.tree.grow(id, text);
    if (this.tree.current !== id) return;
    const follows = this.editor.cursor === end;
    const splice = { at: end, removed: "", inserted: text };
    this.editor.apply(splice, "generated", follows ? "end" : "preserve");
    this.#record(splice, false);
  }

  /**
   * Remove a branch and all below it.
   * @param {number} id
   */
  remove(id) {
    const { parent } = this.tree.get(id);
    if (parent < 0) return;
    if (this.tree.path(this.tree.current).includes(id)) this.go(parent);
    this.tree.remove(id);
    this.history.forget(id);
    this.dispatchEvent(new Event("change"));
  }

  /** Forget all branches but the text that is shown. */
  forget() {
    this.history = new History();
    this.tree.clear();
    this.keep();
  }

  /** Undo the last change. */
  undo() {
    this.#turn(this.history.undo());
  }

  /** Do again what was undone last. */
  redo() {
    this.#turn(this.history.redo());
  }

  /** @param {{splice: import("./splice.js").Splice, branch: number} | null} change */
  #turn(change) {
    if (!change) return;
    this.tree.show(change.branch);
    this.editor.apply(change.splice, "shown");
    this.editor.select(this.editor.cursor);
    this.dispatchEvent(new Event("change"));
  }
}

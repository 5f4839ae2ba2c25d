// Undo and redo: the changes of the text in their order, each with the branches around it.

import { inverse } from "./splice.js";

/** @typedef {import("./splice.js").Splice} Splice */
/** @typedef {Splice & {from: number, to: number, typed: boolean, time: number}} Change */

const MOST = 500; // changes
const TOGETHER = 1200; // milliseconds between keys that are undone together

/** Changes that can be undone, and those that were. */
export class History {
  constructor() {
    /** @type {Change[]} */
    this.done = [];
    /** @type {Change[]} */
    this.undone = [];
  }

  /**
   * Add a change; one that goes on with the last one becomes a part of it.
   * @param {Splice} splice
   * @param {number} from branch before it
   * @param {number} to branch after it
   * @param {boolean} typed
   */
  add(splice, from, to, typed) {
    this.undone = [];
    const last = this.done.at(-1);
    const change = { ...splice, from, to, typed, time: Date.now() };
    if (last && continues(last, change)) {
      Object.assign(last, joined(last, change));
    } else {
      this.done.push(change);
      if (this.done.length > MOST) this.done.shift();
    }
  }

  /**
   * Forget that a branch was shown, where this did not change the text.
   * @param {number} branch
   */
  forget(branch) {
    this.done = this.done.filter(({ from, to, removed, inserted }) => (
      removed || inserted || (from !== branch && to !== branch)
    ));
  }

  /**
   * Return what undoes the last change, and the branch before it.
   * @returns {{splice: Splice, branch: number} | null}
   */
  undo() {
    const change = this.done.pop();
    if (!change) return null;
    this.undone.push(change);
    return { splice: inverse(change), branch: change.from };
  }

  /**
   * Return the change that was undone last, and the branch after it.
   * @returns {{splice: Splice, branch: number} | null}
   */
  redo() {
    const change = this.undone.pop();
    if (!change) return null;
    this.done.push(change);
    return { splice: change, branch: change.to };
  }
}

/**
 * Tell whether a change goes on where the last one ended: a next key, a next deletion, or the
 * next piece of a generated text.
 * @param {Change} last
 * @param {Change} change
 * @returns {boolean}
 */
function continues(last, change) {
  if (last.typed !== change.typed || last.to !== change.from || change.from !== change.to) {
    return false;
  }
  if (change.typed && change.time - last.time > TOGETHER) return false;
  const inserts = !change.removed && change.at === last.at + last.inserted.length;
  const deletes = !change.inserted && !last.inserted &&
    change.at + change.removed.length === last.at;
  return (inserts && !last.inserted.endsWith("\n")) || deletes || (inserts && !change.typed);
}

/**
 * Return two changes as one.
 * @param {Change} last
 * @param {Change} change
 * @returns {Partial<Change>}
 */
function joined(last, change) {
  const { time } = change;
  if (change.inserted) return { inserted: last.inserted + change.inserted, time };
  return { at: change.at, removed: change.removed + last.removed, time };
}

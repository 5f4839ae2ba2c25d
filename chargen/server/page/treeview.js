// The tree of branches as a list that can be walked with the pointer and the arrow keys.

import { element, named } from "./popup.js";

const PREVIEW = 60; // characters of a branch
const DEEPEST = 8; // steps of indentation

/** @typedef {{id: number, level: number, depth: number}} Row */

/** View of a tree. Events: `choose` and `remove` with the id of a branch. */
export class TreeView extends EventTarget {
  /**
   * @param {import("./tree.js").Tree} tree
   * @param {HTMLElement} box
   */
  constructor(tree, box) {
    super();
    this.tree = tree;
    this.box = box;
    this.at = tree.current; // the branch that has the focus
    this.frame = 0;
    tree.addEventListener("change", () => (this.frame ||= requestAnimationFrame(() => this.#draw())));
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("[data-id]");
      if (row) this.#tell("choose", Number(/** @type {HTMLElement} */ (row).dataset.id));
    });
    this.#draw();
  }

  #draw() {
    this.frame = 0;
    const focused = this.box.contains(document.activeElement);
    const path = new Set(this.tree.path(this.tree.current));
    if (!focused || !this.tree.nodes.has(this.at)) this.at = this.tree.current;
    const rows = this.#rows();
    this.box.replaceChildren(...rows.map((row) => this.#row(row, path)));
    const here = this.#element(this.at);
    if (focused) here?.focus({ preventScroll: true });
    scrollInto(this.box, here);
  }

  /** @returns {Row[]} all branches, each below its parent; an only child is not indented */
  #rows() {
    /** @type {Row[]} */
    const rows = [];
    const waiting = [{ id: 0, level: 1, depth: 0 }];
    for (let row = waiting.pop(); row; row = waiting.pop()) {
      rows.push(row);
      const { children } = this.tree.get(row.id);
      const depth = row.depth + (children.length > 1 ? 1 : 0);
      for (const id of children.toReversed()) waiting.push({ id, level: row.level + 1, depth });
    }
    return rows;
  }

  /**
   * @param {Row} row
   * @param {Set<number>} path
   * @returns {HTMLElement}
   */
  #row({ id, level, depth }, path) {
    const { parent, generated, inserted, removed } = this.tree.get(id);
    const words = preview(this.#begun(id) + inserted);
    const text = parent < 0 ? "Beginning" : words || (removed ? "deleted" : "…");
    const { place, count } = this.tree.rank(id);
    const made = element("div", "branch");
    made.dataset.id = String(id);
    made.role = "treeitem";
    made.tabIndex = id === this.at ? 0 : -1;
    made.setAttribute("aria-level", String(level));
    made.setAttribute("aria-posinset", String(place + 1));
    made.setAttribute("aria-setsize", String(count));
    made.ariaSelected = String(id === this.tree.current);
    made.classList.toggle("on-path", path.has(id));
    made.classList.toggle("generated", generated);
    made.style.setProperty("--depth", String(Math.min(depth, DEEPEST)));
    made.append(element("span", "dot"), element("bdi", "preview", text));
    return made;
  }

  /**
   * Return the beginning of the word that a branch goes on with, where its parent ends.
   * @param {number} id
   * @returns {string}
   */
  #begun(id) {
    const { at, parent, inserted } = this.tree.get(id);
    if (parent < 0 || !/^[\p{L}\p{N}]/u.test(inserted)) return "";
    const above = this.tree.get(parent);
    const before = above.inserted.slice(0, Math.max(0, at - above.at)).slice(-PREVIEW);
    return /[\p{L}\p{N}]*$/u.exec(before)?.[0] ?? "";
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = this.#rows().map(({ id }) => id);
    const { parent, children } = this.tree.get(this.at);
    const moves = /** @type {Record<string, number | undefined>} */ ({
      ArrowUp: rows[rows.indexOf(this.at) - 1],
      ArrowDown: rows[rows.indexOf(this.at) + 1],
      ArrowLeft: parent < 0 ? undefined : parent,
      ArrowRight: children[0],
      Home: rows[0],
      End: rows.at(-1),
    });
    if (event.key in moves) this.#focus(moves[event.key] ?? this.at);
    else if (event.key === "Enter" || event.key === " ") this.#tell("choose", this.at);
    else if (event.key === "Delete") this.#tell("remove", this.at);
    else return;
    event.preventDefault();
  }

  /** Move the focus into the tree. */
  focus() {
    this.#focus(this.tree.current);
  }

  /** @param {number} id */
  #focus(id) {
    const before = this.#element(this.at);
    if (before) before.tabIndex = -1;
    this.at = id;
    const here = this.#element(id);
    if (!here) return;
    here.tabIndex = 0;
    here.focus({ preventScroll: true });
    scrollInto(this.box, here);
  }

  /**
   * @param {number} id
   * @returns {HTMLElement | null}
   */
  #element(id) {
    return this.box.querySelector(`[data-id="${id}"]`);
  }

  /**
   * @param {string} name
   * @param {number} id
   */
  #tell(name, id) {
    this.at = id;
    this.dispatchEvent(new CustomEvent(name, { detail: id }));
  }
}

/**
 * Return the beginning of a text in one line.
 * @param {string} text
 * @returns {string}
 */
function preview(text) {
  const line = text.slice(0, 4 * PREVIEW).replace(/\s+/g, " ").trim().slice(0, PREVIEW);
  return line ? named(line).replaceAll("␣", " ") : text && named(text.slice(0, PREVIEW));
}

/**
 * Scroll a box, and nothing around it, until an element in it is seen.
 * @param {HTMLElement} box
 * @param {HTMLElement | null} element
 */
function scrollInto(box, element) {
  if (!element) return;
  const above = element.offsetTop; // the box is positioned, so it counts from there
  const below = above + element.offsetHeight - box.clientHeight;
  box.scrollTop = Math.max(below, Math.min(box.scrollTop, above));
}

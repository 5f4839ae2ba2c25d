// Keys: one table, from which both the keyboard and its list follow.

import { element } from "./popup.js";

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

// "Mod" is Control, on a Mac Command. "Alt" is Alt, on a Mac Control and Option: there Option
// alone moves by words and types letters.
/** @type {[string, string, string][]} command, its keys, what it does */
const KEYS = [
  ["generate", "Mod+Enter", "generate at the cursor, or stop"],
  ["again", "Mod+Shift+Enter", "generate other texts instead of this one"],
  ["take-word", "Tab", "take the next word of the grey text"],
  ["take-all", "Shift+Tab", "take all of it"],
  ["escape", "Escape", "hide the grey text or a box; stop generating"],
  ["alternatives", "Ctrl+Space Alt+A", "alternatives for the next word, with probabilities"],
  ["surprisal", "Alt+S", "colour the text by surprisal; the cursor shows guesses"],
  ["previous", "Alt+ArrowLeft", "previous sibling"],
  ["next", "Alt+ArrowRight", "next sibling"],
  ["parent", "Alt+ArrowUp", "the text that this branch began from"],
  ["child", "Alt+ArrowDown", "the branch that was seen last from here"],
  ["branches", "Alt+B", "go to the tree: arrows move, Enter shows, Delete removes"],
  ["settings", "Alt+P", "sampling parameters"],
  ["undo", "Mod+Z", "undo"],
  ["redo", "Mod+Shift+Z Mod+Y", "redo"],
  ["save", "Mod+S", "save the text as a file"],
  ["open", "Mod+O", "open a text file"],
  ["help", "F1 ?", "this list"],
];
const COMMANDS = new Map(KEYS.flatMap(([command, keys]) => (
  keys.split(" ").map((key) => [key, command])
)));

/**
 * Return the command of a key; undefined if it has none.
 * @param {KeyboardEvent} event
 * @returns {string | undefined}
 */
export function commandOf(event) {
  const { ctrlKey, altKey, metaKey, shiftKey } = event;
  const alt = MAC ? ctrlKey && altKey : altKey && !ctrlKey;
  const mod = MAC ? metaKey : ctrlKey && !altKey;
  const key = keyName(event, alt);
  const shift = shiftKey && (mod || key === "Tab") ? "Shift+" : "";
  if (ctrlKey && key === "Space") return COMMANDS.get("Ctrl+Space");
  return COMMANDS.get(`${alt ? "Alt+" : mod ? "Mod+" : ""}${shift}${key}`);
}

/**
 * @param {KeyboardEvent} event
 * @param {boolean} alt whose letters depend on the layout
 * @returns {string}
 */
function keyName({ key, code }, alt) {
  if (code === "Space") return "Space";
  if (alt && code.startsWith("Key")) return code.slice(3);
  return key.length === 1 ? key.toUpperCase() : key;
}

/**
 * Return how the first key of a command is shown.
 * @param {string} command
 * @returns {string}
 */
export function keyOf(command) {
  const [, keys] = KEYS.find(([name]) => name === command) ?? ["", ""];
  return shown(keys.split(" ")[0]);
}

/**
 * Return the list of keys.
 * @returns {HTMLElement}
 */
export function keyList() {
  const list = element("dl", "keys");
  for (const [, keys, what] of KEYS) {
    const names = element("dt");
    keys.split(" ").forEach((key, n) => {
      if (n) names.append(" or ");
      names.append(element("kbd", "", shown(key)));
    });
    list.append(names, element("dd", "", what));
  }
  return list;
}

/**
 * @param {string} key
 * @returns {string}
 */
function shown(key) {
  const names = MAC
    ? { Mod: "⌘", Alt: "⌃⌥", Shift: "⇧", Ctrl: "⌃" }
    : { Mod: "Ctrl", Alt: "Alt", Shift: "Shift", Ctrl: "Ctrl" };
  const arrows = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
  const known = /** @type {Record<string, string>} */ ({ ...names, ...arrows });
  return key.split("+").map((part) => known[part] ?? part).join(MAC ? "" : "+");
}

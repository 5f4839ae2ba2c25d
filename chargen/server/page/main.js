// The page: its parts, and what its keys and buttons do.

import { Alternatives } from "./alternatives.js";
import { Api, said } from "./api.js";
import { Document } from "./document.js";
import { Editor } from "./editor.js";
import { readFile, saveFile } from "./files.js";
import { Generator } from "./generate.js";
import { Ghost } from "./ghost.js";
import { commandOf, keyList, keyOf } from "./keys.js";
import { Popup } from "./popup.js";
import { Models } from "./models.js";
import { Settings } from "./settings.js";
import { Store } from "./storage.js";
import { Surprisal } from "./surprisal.js";
import { Tree } from "./tree.js";
import { TreeView } from "./treeview.js";

const NOTE = 6000; // milliseconds that a message stays
const REST = 150; // milliseconds after a change until the words are counted

/**
 * Return an element of the page.
 * @param {string} id
 * @returns {any}
 */
const part = (id) => document.getElementById(id);

const store = new Store();
const settings = new Settings(
  part("settings"), part("sliders"), part("more-sliders"), store.loadObject("settings"));
const api = new Api(askKey);
const editor = new Editor(part("text"), part("copy"), part("scroller"));
const tree = new Tree();
const doc = new Document(editor, tree);
const models = new Models(api, settings, part("model"), part("label"));
const generator = new Generator(doc, api, models, () => settings.request());
const ghost = new Ghost(editor, api, part("ghost"), part("ghost-words"), models,
  () => settings.values.ghost && !generator.running);
const guesses = new Popup(part("guesses"), part("sheet"));
const surprisal = new Surprisal(editor, api, guesses, models);
const list = new Popup(part("alternatives"), part("sheet"));
const alternatives = new Alternatives(editor, api, list, models);
const view = new TreeView(tree, part("branch-tree"));

/** @type {Record<string, () => unknown>} */
const commands = {
  generate: () => (generator.running ? generator.stop() : write(() => generator.start())),
  again: () => write(() => generator.again()),
  "take-word": () => ghost.take(true),
  "take-all": () => ghost.take(false),
  escape,
  alternatives: () => alternatives.open(),
  surprisal: toggleSurprisal,
  previous: () => doc.walk("previous"),
  next: () => doc.walk("next"),
  parent: () => doc.walk("parent"),
  child: () => doc.walk("child"),
  branches: () => openDrawer(() => view.focus()),
  settings: () => openDrawer(() => part("set-temperature").focus()),
  close: closeDrawer,
  undo: () => turn(() => doc.undo()),
  redo: () => turn(() => doc.redo()),
  save: () => saveFile(editor.text),
  open: () => part("file").click(),
  new: () => turn(() => doc.begin("")),
  remove: () => removeBranch(tree.current),
  clear: forgetOthers,
  theme: switchTheme,
  reset: () => settings.reset(),
  help: () => part("help").showModal(),
};

// -- commands ---------------------------------------------------------------------------------

/** @param {() => void} start */
function write(start) {
  if (!api.up || !settings.values.model) return;
  say("");
  ghost.hide();
  start();
}

/** @param {() => void} change that a text which still grows would disturb */
function turn(change) {
  generator.stop();
  change();
}

/** @returns {boolean} whether there was something to hide or to stop */
function escape() {
  const wanted = ghost.text || guesses.open || generator.running || drawerOpen();
  generator.stop();
  alternatives.close(); // also those that were asked for and are not there yet
  ghost.hide();
  guesses.hide();
  closeDrawer();
  return Boolean(wanted);
}

function toggleSurprisal() {
  surprisal.toggle();
  part("surprisal").ariaPressed = String(surprisal.on);
  part("legend").hidden = !surprisal.on;
  part("bits").textContent = "";
}

/** @param {number} id */
function removeBranch(id) {
  const { children } = tree.get(id);
  if (children.length && !confirm("Remove this branch and all that began from it?")) return;
  turn(() => doc.remove(id));
}

function forgetOthers() {
  if (!confirm("Forget all branches but the text that is shown?")) return;
  turn(() => doc.forget());
}

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = settings.values.theme || (dark ? "dark" : "light");
  settings.set("theme", now === "dark" ? "light" : "dark");
}

/** @param {() => void} focus */
function openDrawer(focus) {
  document.body.classList.add("drawer-open");
  focus();
}

function closeDrawer() {
  if (!drawerOpen()) return;
  document.body.classList.remove("drawer-open");
  if (part("side").contains(document.activeElement)) editor.area.focus();
}

/** @returns {boolean} */
function drawerOpen() {
  return document.body.classList.contains("drawer-open");
}

/** @returns {Promise<string>} the API key */
function askKey() {
  const dialog = part("locked");
  part("key").value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => (part("key").value ? resolve(part("key").value) : dialog.showModal());
  });
}

// -- what is shown ----------------------------------------------------------------------------

let noteTimer = 0;

/**
 * Say something in one line.
 * @param {string} sentence
 * @param {boolean} [stays]
 */
function say(sentence, stays = false) {
  clearTimeout(noteTimer);
  part("message").textContent = sentence;
  if (sentence && !stays) noteTimer = setTimeout(() => say(""), NOTE);
}

/** @param {unknown} error of a request; what is said already about the server stays */
function sayError(error) {
  if (said(error)) say(said(error));
}

/** Show what depends on the text and on the branch. */
function refresh() {
  const { place, count } = tree.rank(tree.current);
  part("siblings").hidden = count < 2;
  part("rank").textContent = `${place + 1} of ${count}`;
  part("undo").disabled = !doc.history.done.length;
  part("redo").disabled = !doc.history.undone.length;
  part("again").hidden = !tree.get(tree.current).generated;
}

function count() {
  const words = editor.text.match(/\S+/g)?.length ?? 0;
  part("facts").textContent = words ? `${words.toLocaleString("en")} word${words > 1 ? "s" : ""}` : "";
}

let refreshing = 0;
let counting = 0;

/** Show and store a change, together with others of the same moment. */
function changed() {
  refreshing ||= requestAnimationFrame(() => {
    refreshing = 0;
    refresh();
  });
  clearTimeout(counting);
  counting = setTimeout(count, REST);
  store.save("text", () => editor.text);
}

/** Show what the settings change. */
function dress() {
  const { theme, face } = settings.values;
  document.documentElement.dataset.theme = theme;
  document.documentElement.dataset.face = face;
}

/** Ask the server for its models. */
async function loadModels() {
  try {
    if (await models.load()) return;
    say("The server has no model yet: train one with “chargen train”.", true);
  } catch (error) {
    sayError(error);
  }
}

// -- events -----------------------------------------------------------------------------------

/**
 * Run the command of a key; Tab, Escape and ? keep their usual meaning where they have none here.
 * @param {KeyboardEvent} event
 */
function onKey(event) {
  const command = commandOf(event);
  if (!command || event.isComposing || document.querySelector("dialog[open]")) return;
  const field = /** @type {Element} */ (event.target).matches("input, textarea, select");
  if (event.key === "?" && field) return;
  if (event.key === "Tab" && !editor.focused) return;
  const done = commands[command]();
  if (event.key === "Tab" && !done) return;
  event.preventDefault();
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => {
  const button = /** @type {Element} */ (event.target).closest("[data-command]");
  if (button) commands[/** @type {HTMLElement} */ (button).dataset.command ?? ""]();
});
part("tools").addEventListener("pointerdown", (/** @type {Event} */ event) => {
  event.preventDefault(); // the cursor stays in the text
});
part("scroller").addEventListener("scroll", () => guesses.hide());
part("scroller").addEventListener("click", (/** @type {Event} */ event) => {
  if (event.target === part("scroller")) editor.area.focus();
});
part("file").addEventListener("change", async () => {
  try {
    const text = await readFile(part("file"));
    turn(() => doc.begin(text));
  } catch (error) {
    sayError(error);
  }
});

editor.addEventListener("change", changed);
doc.addEventListener("change", changed);
tree.addEventListener("change", () => {
  changed();
  store.save("tree", () => JSON.stringify(tree));
});
view.addEventListener("choose", (event) => doc.go(/** @type {CustomEvent} */ (event).detail));
view.addEventListener("remove", (event) => removeBranch(/** @type {CustomEvent} */ (event).detail));
settings.addEventListener("change", () => {
  dress();
  ghost.wait(REST);
  store.save("settings", () => JSON.stringify(settings.values));
});
models.addEventListener("change", () => surprisal.on && surprisal.score());
generator.addEventListener("start", () => (part("generate").textContent = "Stop"));
generator.addEventListener("stop", () => (part("generate").textContent = "Generate"));
for (const asks of [generator, alternatives, surprisal]) {
  asks.addEventListener("error", (event) => sayError(/** @type {CustomEvent} */ (event).detail));
}
surprisal.addEventListener("scored", (event) => {
  part("bits").textContent = `· ${/** @type {CustomEvent} */ (event).detail}`;
});
api.addEventListener("gone", () => {
  document.body.classList.add("offline");
  say("The server does not answer. What you write is kept here; trying again …", true);
});
api.addEventListener("back", () => {
  document.body.classList.remove("offline");
  say("The server is back.");
  loadModels();
  ghost.wait(0);
  if (surprisal.on) surprisal.score();
});
store.addEventListener("full", () => (
  say("The browser's storage is full: save the text as a file, or forget other branches.", true)
));
store.addEventListener("fits", () => say(""));

store.addEventListener("elsewhere", () => (
  say("The text was changed in another tab. Reload to go on here: this tab keeps nothing.", true)
));

// -- start ------------------------------------------------------------------------------------

part("keys").append(keyList());
editor.area.placeholder = matchMedia("(pointer: coarse)").matches
  ? "Begin to write. Grey words are the model’s: a tap takes one. Generate writes on."
  : `Begin to write. Grey words are the model’s: Tab takes one. ${keyOf("generate")} writes on.`;
tree.restore(store.loadObject("tree"));
editor.show(store.load("text") ?? "");
editor.select(editor.text.length);
dress();
refresh();
loadModels();

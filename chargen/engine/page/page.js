// The page: a text area, the model's words at its cursor, and a worker that makes them.
"use strict";

const element = id => document.getElementById(id);
const [sheet, area, ghost] = ["sheet", "text", "ghost"].map(element);
const about = JSON.parse(element("about").textContent);
const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const CONTEXT = 4000; // characters
const PLACE = `chargen ${location.pathname}`; // of the text in the browser's storage

// A word with the space before it; Chinese and Japanese characters are words of their own.
const CJK = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}";
const WORD = new RegExp(`^\\s*(?:[${CJK}]|[^\\s${CJK}]+|$)`, "u");

let job = 0; // number of the last request; what older ones answer is not looked at
let writing = null; // what is being generated: its seed and the text so far
let made = null; // what was generated last: where it begins, and the text with it
let ready = false, rate = 0, said = "";

addEventListener("error", ({message}) => say(`This did not work: ${message}`));
const worker = startWorker();

function startWorker() {
  const code = new Blob([element("worker").textContent], {type: "text/javascript"});
  const started = new Worker(URL.createObjectURL(code));
  started.onmessage = ({data}) => {
    if (data.job === job || ["ready", "failed"].includes(data.kind)) ON[data.kind](data);
  };
  started.onerror = ({message}) => say(`This did not work: ${message}`);
  // One can write while the browser still reads the weights, which stand at the end of the file.
  addEventListener("DOMContentLoaded", () => {
    started.postMessage({kind: "open", job, about, weights: element("weights").textContent});
    element("weights").remove(); // the worker has it
  });
  return started;
}

// The model reads the last 4,000 to 8,000 characters before the cursor: what lies further back says
// next to nothing about the next ones, and a long text would take long. The begin moves only after
// 4,000 characters, so that a key is one character to read.
function ask(kind, more) {
  job += 1;
  const at = area.selectionStart, begin = CONTEXT * Math.max(0, Math.floor(at / CONTEXT) - 1);
  worker.postMessage({kind, job, text: area.value.slice(begin, at), ...more});
}

// -- what the worker tells ------------------------------------------------------------------

const ON = {
  ready(data) {
    ready = true;
    const stack = about.layers.map(({kind, hidden}) => `${kind} ${hidden}`).join(", ");
    const speed = `${whole.format(data.rate)} characters/s on this device, with ${data.by}`;
    element("facts").textContent = dotted(stack, `${whole.format(about.weights)} weights`, speed);
    element("generate").disabled = element("label").disabled = false;
    say("Ready. The model is in this page; what you write stays in your browser.");
    look();
  },

  reading({part}) {
    const reading = `Reading the text: ${whole.format(100 * part)} %`;
    element("status").textContent = part < 1 ? reading : said;
  },

  ghost({text}) {
    show(text, "ahead");
  },

  text(data) {
    rate = data.rate;
    writing.text += data.text.replaceAll("\r", ""); // a text area has none
    show(writing.text, "writing");
    say(written(writing.text));
    follow();
  },

  done() {
    finish();
  },

  failed({message}) {
    finish();
    say(`This did not work: ${message}`);
  },
};

const dotted = (...parts) => parts.join(" \u00b7 ");
const written = text => dotted(`${whole.format(text.length)} characters`,
  `${whole.format(rate)} characters/s`);

function say(text) {
  said = text;
  element("status").textContent = text;
}

// -- the text -------------------------------------------------------------------------------

// Show words of the model at the cursor; none hides what was shown.
function show(text, how) {
  const at = area.selectionStart;
  element("before").textContent = area.value.slice(0, at);
  element("after").textContent = `${area.value.slice(at)}\n`;
  ghost.textContent = text;
  sheet.className = text || writing ? how : "";
  element("words").textContent = text && !writing ? `Tab adds: ${text}` : "";
}

// Ask for ghost text, if there is a place for it: the cursor at the end of a line. What is left of
// the text that is shown stays until the answer comes.
function look() {
  if (writing) return;
  const {value, selectionStart: at, selectionEnd: end} = area;
  const place = ready && at && at === end && /^[^\S\n]*(\n|$)/.test(value.slice(at));
  show(place ? leftOf(value.slice(0, at)) : "", "ahead");
  element("undo").disabled = value !== made?.text;
  ask(place ? "ghost" : "stop");
}

// Return what is left of the ghost text after a text that goes on in the same way.
function leftOf(text) {
  const before = element("before").textContent, shown = before + ghost.textContent;
  return text.startsWith(before) && shown.startsWith(text) ? shown.slice(text.length) : "";
}

// Insert a text for the characters from one place to another, so that the browser can undo it.
function insert(text, from = area.selectionStart, to = area.selectionEnd) {
  if (!text && from === to) return;
  const wanted = area.value.slice(0, from) + text + area.value.slice(to);
  area.setSelectionRange(from, to);
  const done = document.activeElement === area &&
    document.execCommand(text ? "insertText" : "delete", false, text);
  if (!done || area.value !== wanted) area.setRangeText(text, from, to, "end");
  area.setSelectionRange(from + text.length, from + text.length);
  keep();
}

function take(count) {
  const text = sheet.className === "ahead" ? ghost.textContent : "";
  if (!text) return false;
  insert(count === "word" ? text.match(WORD)[0] : text);
  look();
  return true;
}

// Keep the text where a reload finds it. A file may have no storage: then nothing is kept.
function keep() {
  try { localStorage.setItem(PLACE, area.value); } catch { /* none */ }
}

function fetchKept() {
  try { return localStorage.getItem(PLACE) ?? ""; } catch { return ""; }
}

// Bring the end of what is being written into view.
function follow() {
  const box = ghost.getClientRects(), last = box[box.length - 1];
  const below = last ? last.bottom - element("tools").getBoundingClientRect().top + 48 : 0;
  if (below > 0) document.querySelector("main").scrollTop += below;
}

// -- generation -----------------------------------------------------------------------------

function generate() {
  if (!ready || writing) return;
  const given = element("seed").valueAsNumber;
  const seed = Number.isInteger(given) ? given : crypto.getRandomValues(new Uint32Array(1))[0];
  const length = Math.max(1, element("length").valueAsNumber || 400);
  writing = {seed, text: ""};
  area.setSelectionRange(area.selectionEnd, area.selectionEnd);
  area.readOnly = true;
  element("generate").textContent = "Stop";
  element("status").ariaBusy = "true"; // a reader of screens need not follow the speed
  show("", "writing");
  ask("write", {settings: {length, temperature: element("temperature").valueAsNumber, seed}});
}

// Put what was generated into the text.
function finish() {
  if (!writing) return;
  const {text, seed} = writing, from = area.selectionStart;
  writing = null;
  area.readOnly = false;
  element("generate").textContent = "Generate";
  element("status").ariaBusy = "false";
  insert(text);
  made = {from, to: from + text.length, text: area.value};
  say(dotted(written(text), `seed ${seed}`));
  look();
}

function stop() {
  if (!writing) return show("", "ahead");
  ask("stop");
  finish();
}

function undo() {
  if (writing || area.value !== made?.text) return;
  insert("", made.from, made.to);
  look();
}

// -- keys and buttons -------------------------------------------------------------------------

area.addEventListener("keydown", event => {
  if (event.isComposing || event.altKey) return;
  const command = event.ctrlKey || event.metaKey;
  if (event.key === "Tab" && !command && take(event.shiftKey ? "all" : "word")) event.preventDefault();
  if (event.key === "Enter" && command) { event.preventDefault(); generate(); }
});
document.addEventListener("keydown", event => { if (event.key === "Escape") stop(); });
area.addEventListener("input", () => { keep(); look(); });
for (const moved of ["click", "keyup", "focus"])
  area.addEventListener(moved, event => {
    if (moved !== "keyup" || /^(Arrow|Home|End|Page)/.test(event.key)) look();
  });

const CLICKS = {
  generate: () => (writing ? stop() : generate()),
  undo,
  word: () => take("word"),
  all: () => take("all"),
  theme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const {dataset} = document.documentElement;
    dataset.theme = (dataset.theme ?? (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  },
};
for (const [id, click] of Object.entries(CLICKS)) {
  element(id).addEventListener("click", click);
  // The text area keeps the focus, and a phone its keyboard.
  element(id).addEventListener("pointerdown", event => event.preventDefault());
}
element("temperature").addEventListener("input", ({target}) => {
  element("degrees").textContent = target.valueAsNumber.toFixed(2);
});
element("label").addEventListener("change", ({target}) => {
  stop();
  ask("label", {label: Number(target.value)});
  look();
});
element("tools").addEventListener("submit", event => event.preventDefault());

about.labels.forEach((name, row) => element("label").append(new Option(name, row)));
element("labels").hidden = !about.labels.length;
element("label").disabled = true; // until the model is there
area.value = fetchKept();
show("", "ahead");

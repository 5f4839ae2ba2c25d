// Settings: sampling parameters as sliders, and how the page looks.

import { element } from "./popup.js";

/**
 * @typedef {object} Slider
 * @property {string} name of the sampling parameter, as the server knows it
 * @property {string} label
 * @property {string} hint
 * @property {number} least
 * @property {number} most
 * @property {number} step
 * @property {number} usual value at first
 */

/** @type {Slider[]} */
const FIRST = [
  slider("max_chars", "Length", "Characters to generate", 20, 2000, 20, 300),
  slider("n", "Branches", "Texts generated at once, as siblings", 1, 6, 1, 3),
  slider("temperature", "Temperature", "Lower is safer, higher is wilder; 0 is greedy", 0, 2, 0.05, 0.8),
];
/** @type {Slider[]} those that are off at first */
const MORE = [
  slider("top_p", "Top-p", "Keeps the most likely tokens up to this probability; 1 is off",
    0.05, 1, 0.05, 1),
  slider("min_p", "Min-p", "Drops tokens below this fraction of the best; 0 is off",
    0, 0.5, 0.01, 0),
  slider("repeat_penalty", "Repeat penalty", "Divides the logits of repeated tokens; 1 is off",
    1, 1.5, 0.01, 1),
  slider("frequency_penalty", "Frequency penalty", "Subtracted once per repetition; 0 is off",
    0, 2, 0.05, 0),
];
const SLIDERS = [...FIRST, ...MORE];
const TRUNCATION = ["top_p", "min_p"]; // without effect at temperature 0

/** @typedef {Record<string, any>} Values */

/** @type {Values} */
const USUAL = {
  ...Object.fromEntries(SLIDERS.map(({ name, usual }) => [name, usual])),
  seed: "", until: "", model: "", label: "", ghost: true, theme: "", face: "serif",
};

/** The settings and their form. Event: `change`. */
export class Settings extends EventTarget {
  /**
   * @param {HTMLFormElement} form with fields that have the names of the settings
   * @param {HTMLElement} first where the first sliders go
   * @param {HTMLElement} more where the others go
   * @param {any} stored
   */
  constructor(form, first, more, stored) {
    super();
    this.form = form;
    this.values = { ...USUAL, ...checked(stored) };
    first.append(...FIRST.map(control));
    more.append(...MORE.map(control));
    document.addEventListener("input", (event) => {
      const field = /** @type {any} */ (event.target);
      if (field.form === form) this.#read(field); // the choice of a model stands outside
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    this.#show();
  }

  /**
   * Change a setting.
   * @param {string} name
   * @param {any} value
   */
  set(name, value) {
    this.values[name] = value;
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  /** Return to the usual sampling parameters. */
  reset() {
    const { model, label, theme, face, ghost } = this.values;
    this.values = { ...USUAL, model, label, theme, face, ghost };
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Return the sampling parameters: those that differ from what the server does anyway.
   * @returns {Values}
   */
  request() {
    const { values } = this;
    const { n, max_chars, temperature } = values;
    const changed = MORE.map(({ name }) => name)
      .filter((name) => values[name] !== USUAL[name] && (temperature || !TRUNCATION.includes(name)));
    return {
      n, max_chars, temperature,
      ...Object.fromEntries(changed.map((name) => [name, values[name]])),
      ...(values.seed !== "" && { seed: Number(values.seed) }),
      ...(values.until && { until: values.until }),
    };
  }

  /** @param {HTMLInputElement} field */
  #read(field) {
    const kinds = /** @type {Record<string, any>} */ ({
      checkbox: field.checked,
      range: field.valueAsNumber,
    });
    if (field.validity.valid) this.set(field.name, kinds[field.type] ?? field.value);
  }

  #show() {
    for (const [name, value] of Object.entries(this.values)) {
      const field = /** @type {any} */ (this.form.elements.namedItem(name));
      if (!field) continue;
      if (field.type === "checkbox") field.checked = value;
      else if (field !== document.activeElement || field.type !== "number") field.value = value;
      const output = this.form.querySelector(`output[for="${field.id}"]`);
      if (output) output.textContent = shown(name, value);
    }
  }
}

/**
 * @param {string} name
 * @param {string} label
 * @param {string} hint
 * @param {number} least
 * @param {number} most
 * @param {number} step
 * @param {number} usual
 * @returns {Slider}
 */
function slider(name, label, hint, least, most, step, usual) {
  return { name, label, hint, least, most, step, usual };
}

/**
 * Return stored settings, those left out that are not of the right type.
 * @param {any} stored
 * @returns {Values}
 */
function checked(stored) {
  const pairs = Object.entries(stored ?? {});
  return Object.fromEntries(pairs.filter(([name, value]) => typeof value === typeof USUAL[name]));
}

/**
 * Return the row of a slider.
 * @param {Slider} slider
 * @returns {HTMLElement}
 */
function control({ name, label, hint, least, most, step }) {
  const row = element("div", "setting");
  const title = /** @type {HTMLLabelElement} */ (element("label", "", label));
  const output = /** @type {HTMLOutputElement} */ (element("output"));
  const input = /** @type {HTMLInputElement} */ (element("input"));
  const words = element("small", "", hint);
  Object.assign(input, { type: "range", name, id: `set-${name}`, min: least, max: most, step });
  title.htmlFor = input.id;
  output.setAttribute("for", input.id);
  words.id = `hint-${name}`;
  input.setAttribute("aria-describedby", words.id);
  row.append(title, output, input, words);
  return row;
}

/**
 * @param {string} name
 * @param {number} value
 * @returns {string}
 */
function shown(name, value) {
  const step = SLIDERS.find((one) => one.name === name)?.step ?? 1;
  return step < 1 ? value.toFixed(2) : String(value);
}

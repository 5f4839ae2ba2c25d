// Models of the server: their choice and that of a label, and what of a text they read.

/** @typedef {{id: string, labels: string[], record_end: string | null}} Model */

/** The models, and the one that is chosen. Event: `change` of the model or the label. */
export class Models extends EventTarget {
  /**
   * @param {import("./api.js").Api} api
   * @param {import("./settings.js").Settings} settings
   * @param {HTMLSelectElement} names
   * @param {HTMLSelectElement} labels
   */
  constructor(api, settings, names, labels) {
    super();
    this.api = api;
    this.settings = settings;
    this.names = names;
    this.labels = labels;
    /** @type {Model[]} */
    this.all = [];
    this.asked = JSON.stringify(this.request());
    settings.addEventListener("change", () => this.#changed());
  }

  /** @returns {Model | undefined} the one that is chosen */
  get chosen() {
    return this.all.find(({ id }) => id === this.settings.values.model);
  }

  /**
   * Ask the server for its models.
   * @returns {Promise<boolean>} whether there are any
   */
  async load() {
    const { data } = await this.api.json("/v1/models");
    this.all = data;
    this.names.replaceChildren(...this.all.map(({ id }) => new Option(id, id)));
    this.names.disabled = !this.all.length;
    if (this.all.length) this.settings.set("model", (this.chosen ?? this.all[0]).id);
    return this.all.length > 0;
  }

  /**
   * Return what a request says of the model.
   * @returns {{model: string, label?: string}}
   */
  request() {
    const { model, label } = this.settings.values;
    return { model, ...(this.chosen?.labels.includes(label) && { label }) };
  }

  /**
   * Return what the model reads of a text: the last of several records.
   * @param {string} text
   * @returns {string}
   */
  record(text) {
    const end = this.chosen?.record_end;
    return end ? text.slice(text.lastIndexOf(end) + 1) : text;
  }

  #changed() {
    const own = this.chosen?.labels ?? [];
    const shown = [...this.labels.options].slice(1).map(({ value }) => value);
    if (JSON.stringify(shown) !== JSON.stringify(own)) {
      const options = own.map((name) => new Option(name, name));
      this.labels.replaceChildren(new Option("no label", ""), ...options);
    }
    const { label } = this.request();
    this.labels.hidden = !own.length;
    this.labels.value = label ?? "";
    const asked = JSON.stringify(this.request());
    if (asked === this.asked) return;
    this.asked = asked;
    this.dispatchEvent(new Event("change"));
  }
}

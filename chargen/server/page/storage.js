// The browser's storage: what is kept of the text, its branches and the settings.

const PREFIX = "chargen.";
const PAUSE = 300; // milliseconds after a change; a page that is closed or hidden saves at once

/**
 * Values in localStorage, which is written before a page is closed. Events: `full`, `fits`, and
 * `elsewhere` when another tab has written: from then on this one does not, or each would
 * overwrite what was typed in the other.
 */
export class Store extends EventTarget {
  constructor() {
    super();
    /** @type {Map<string, () => string>} */
    this.waiting = new Map();
    this.timer = 0;
    this.full = false;
    this.elsewhere = false;
    addEventListener("storage", ({ key }) => {
      if (key === `${PREFIX}text` && !this.elsewhere) this.#leave();
    });
    addEventListener("pagehide", () => this.flush());
    addEventListener("visibilitychange", () => this.flush());
  }

  /**
   * Return a stored text; null if there is none.
   * @param {string} name
   * @returns {string | null}
   */
  load(name) {
    try {
      return localStorage.getItem(PREFIX + name);
    } catch {
      return null; // storage is turned off in this browser
    }
  }

  /**
   * Return a stored object; null if there is none, or one that is damaged.
   * @param {string} name
   * @returns {any}
   */
  loadObject(name) {
    try {
      return JSON.parse(this.load(name) ?? "null");
    } catch {
      return null;
    }
  }

  /**
   * Store a text after a pause.
   * @param {string} name
   * @param {() => string} make returns the text at that time
   */
  save(name, make) {
    this.waiting.set(name, make);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), PAUSE);
  }

  /** Store what waits. */
  flush() {
    clearTimeout(this.timer);
    const entries = [...this.waiting];
    if (!entries.length || this.elsewhere) return;
    this.waiting.clear();
    try {
      for (const [name, make] of entries) localStorage.setItem(PREFIX + name, make());
      this.#tell(false);
    } catch {
      this.#tell(true);
    }
  }

  #leave() {
    this.elsewhere = true;
    this.dispatchEvent(new Event("elsewhere"));
  }

  /** @param {boolean} full */
  #tell(full) {
    if (full !== this.full) this.dispatchEvent(new Event(full ? "full" : "fits"));
    this.full = full;
  }
}

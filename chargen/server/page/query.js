// A query of the server about the text, of which only the newest counts, and the box with its answer.

import { isAbort } from "./api.js";

/** What is asked about the text of an editor. Event: `error` with the error. */
export class Query extends EventTarget {
  /**
   * @param {import("./editor.js").Editor} editor
   * @param {import("./api.js").Api} api
   * @param {import("./popup.js").Popup} popup
   * @param {import("./models.js").Models} models
   */
  constructor(editor, api, popup, models) {
    super();
    this.editor = editor;
    this.api = api;
    this.popup = popup;
    this.models = models;
    this.request = new AbortController();
  }

  /**
   * Ask, instead of what was asked before.
   * @param {(signal: AbortSignal) => Promise<void>} work
   */
  async ask(work) {
    this.request.abort();
    this.request = new AbortController();
    try {
      await work(this.request.signal);
    } catch (error) {
      if (!isAbort(error)) this.dispatchEvent(new CustomEvent("error", { detail: error }));
    }
  }
}

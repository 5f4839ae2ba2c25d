// The server: JSON requests, streams, its key, and whether it answers at all.

const KEY = "chargen.key"; // of sessionStorage: gone with the tab, never in the text's storage
const FIRST_WAIT = 500; // milliseconds until the server is tried again; each wait is longer
const LAST_WAIT = 4000;

/** A refusal of the server, in its own words. */
class ServerError extends Error {}

/** The server cannot be reached. */
class Gone extends Error {}

/**
 * Tell whether an error only says that a request was no longer wanted.
 * @param {unknown} error
 * @returns {boolean}
 */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Requests to the server that the page came from. Events: `gone`, `back`. */
export class Api extends EventTarget {
  /** @param {() => Promise<string>} askKey asks the user for the API key */
  constructor(askKey) {
    super();
    this.up = true;
    this.askKey = askKey;
    /** @type {Promise<void> | null} */
    this.asking = null;
  }

  /**
   * Return the answer to a request.
   * @param {string} path
   * @param {object | null} [body] null is a GET
   * @param {AbortSignal} [signal] aborts the request, so that the server ends its work
   * @returns {Promise<any>}
   */
  async json(path, body = null, signal) {
    const response = await this.#send(path, body, signal);
    return this.#whileThere(() => response.json());
  }

  /**
   * Yield the objects of a stream of server-sent events.
   * @param {string} path
   * @param {object} body
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<any>}
   */
  async *stream(path, body, signal) {
    const response = await this.#send(path, body, signal);
    const reader = /** @type {ReadableStream} */ (response.body)
      .pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { done, value } = await this.#whileThere(() => reader.read());
      const events = (rest + (value ?? "")).split(/\r?\n\r?\n/);
      rest = events.pop() ?? "";
      for (const event of events) {
        const data = event.replace(/^data: ?/, "");
        if (data === "[DONE]") return;
        if (data.startsWith("{")) yield accepted(JSON.parse(data));
      }
      if (done) throw this.#lost();
    }
  }

  /**
   * Return the response to a request that the server accepts; ask for a key if it wants one.
   * @param {string} path
   * @param {object | null} body
   * @param {AbortSignal} [signal]
   * @returns {Promise<Response>}
   */
  async #send(path, body, signal) {
    if (!this.up) throw new Gone();
    const key = sessionStorage.getItem(KEY);
    const headers = {
      ...(body && { "Content-Type": "application/json" }),
      ...(key && { Authorization: `Bearer ${key}` }),
    };
    const method = body ? "POST" : "GET";
    const options = { method, headers, body: body && JSON.stringify(body), signal };
    const response = await this.#whileThere(() => fetch(path, options));
    if (response.ok) return response;
    if (response.status !== 401) throw await refusal(response);
    await (this.asking ??= this.#unlock());
    return this.#send(path, body, signal);
  }

  /** Ask for the key, once for all requests that wait for it. */
  async #unlock() {
    const key = await this.askKey();
    sessionStorage.setItem(KEY, key);
    this.asking = null;
  }

  /**
   * Return what a request gives; notice when the server is gone.
   * @template T
   * @param {() => Promise<T>} request
   * @returns {Promise<T>}
   */
  async #whileThere(request) {
    try {
      return await request();
    } catch (error) {
      throw isAbort(error) ? error : this.#lost();
    }
  }

  /** Say that the server is gone, and begin to look for it. */
  #lost() {
    if (this.up) {
      this.up = false;
      this.dispatchEvent(new Event("gone"));
      this.#look(FIRST_WAIT);
    }
    return new Gone();
  }

  /** @param {number} wait milliseconds */
  #look(wait) {
    setTimeout(async () => {
      const found = await fetch("/health").then((answer) => answer.ok, () => false);
      if (!found) return this.#look(Math.min(LAST_WAIT, wait * 1.5));
      this.up = true;
      this.dispatchEvent(new Event("back"));
    }, wait);
  }
}

/**
 * Return an event of a stream; throw the error that it holds.
 * @param {any} event
 * @returns {any}
 */
function accepted(event) {
  if (event.error) throw new ServerError(event.error.message);
  return event;
}

/**
 * Return the error that a response holds.
 * @param {Response} response
 * @returns {Promise<ServerError>}
 */
async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return new ServerError(body.error?.message ?? `the server answered ${response.status}`);
}

/**
 * Return what to say about an error of a request; empty if it is said elsewhere.
 * @param {unknown} error
 * @returns {string}
 */
export function said(error) {
  if (error instanceof Gone || isAbort(error)) return "";
  return error instanceof Error ? error.message : String(error);
}

// Splices: a change of a text as a place, the text removed there and the text inserted there.
// Offsets are in UTF-16 code units, as a text area counts.

/** @typedef {{at: number, removed: string, inserted: string}} Splice */

const LEADING = /[\ud800-\udbff]$/; // the first half of a surrogate pair

/**
 * Return a text after a change.
 * @param {string} text
 * @param {Splice} splice
 * @returns {string}
 */
export function applied(text, { at, removed, inserted }) {
  return text.slice(0, at) + inserted + text.slice(at + removed.length);
}

/**
 * Return the change that takes a change back.
 * @param {Splice} splice
 * @returns {Splice}
 */
export function inverse({ at, removed, inserted }) {
  return { at, removed: inserted, inserted: removed };
}

/**
 * Return the change between two texts.
 * @param {string} before
 * @param {string} after
 * @param {number} [cursor] where the change ends in the text after it; without it "l" added to
 *   "hello" could be either of two
 * @returns {Splice}
 */
export function difference(before, after, cursor = 0) {
  const shorter = Math.min(before.length, after.length);
  const most = Math.min(shorter, after.length - cursor);
  let end = 0;
  while (end < most && before.at(-1 - end) === after.at(-1 - end)) end++;
  let at = 0;
  while (at < shorter - end && before[at] === after[at]) at++;
  if (LEADING.test(before.slice(0, at))) at--; // a pair stays whole
  return {
    at,
    removed: before.slice(at, before.length - end),
    inserted: after.slice(at, after.length - end),
  };
}

/**
 * Return a text as a text area keeps it and as UTF-8 can carry it: each end of a line is one
 * newline, and half a surrogate pair is U+FFFD.
 * @param {string} text
 * @returns {string}
 */
export function clean(text) {
  return text.replace(/\r\n?/g, "\n").toWellFormed();
}

/**
 * Return the end of a text that is sent to the model.
 *
 * The beginning moves in strides of half the size: while one types, it stays where it is, and
 * the server finds the state that it kept after the same beginning.
 * @param {string} text
 * @param {number} size characters at most
 * @returns {string}
 */
export function lastPart(text, size) {
  const stride = size / 2;
  const start = Math.max(0, Math.floor(text.length / stride) - 1) * stride;
  return text.slice(LEADING.test(text.slice(0, start)) ? start + 1 : start);
}

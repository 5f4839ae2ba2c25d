// Files: the text saved as one, and a text read from one.

import { clean } from "./splice.js";

const LARGEST = 2_000_000; // bytes; the browser's storage holds little more

/**
 * Save a text as a file of UTF-8.
 * @param {string} text
 */
export function saveFile(text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = fileName(text);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Return a name of a file: the first words of a text.
 * @param {string} text
 * @returns {string}
 */
function fileName(text) {
  const words = text.slice(0, 200).match(/[\p{L}\p{N}]+/gu) ?? ["text"];
  return `${words.slice(0, 4).join("-").slice(0, 40).toLowerCase()}.txt`;
}

/**
 * Return the text of the file that was chosen.
 * @param {HTMLInputElement} input
 * @returns {Promise<string>}
 */
export async function readFile(input) {
  const file = input.files?.[0];
  if (!file) return "";
  input.value = ""; // so that the same file can be opened again
  if (file.size > LARGEST) {
    throw new Error(`${file.name} is larger than ${LARGEST / 1e6} MB; open a part of it.`);
  }
  try {
    return clean(new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()));
  } catch {
    throw new Error(`${file.name} is not a text in UTF-8; save it as UTF-8 first.`);
  }
}

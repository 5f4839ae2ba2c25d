// Tokenizers: from text to ids, and from ids to text as they come.

const REPLACEMENT = "\ufffd"; // what a character outside the alphabet is shown as
const ESCAPE = 0xdc00; // a byte that is not UTF-8 is a lone surrogate, as in chargen itself
const ESCAPED = /([\udc80-\udcff])/u;

// One id for each character of the alphabet, from 1 on; 0 is every other character.
class CharTokenizer {
  constructor(alphabet) {
    this.texts = [REPLACEMENT, ...alphabet];
    this.idOf = new Map([...alphabet].map((character, at) => [character, at + 1]));
    this.neverSampled = [0];
  }

  encode(text) {
    return Array.from(text, character => this.idOf.get(character) ?? 0);
  }

  decoder() {
    return {push: id => this.texts[id], flush: () => ""};
  }
}

// The id of a byte is its value.
class ByteTokenizer {
  constructor() {
    this.neverSampled = [];
  }

  encode(text) {
    const utf8 = new TextEncoder();
    return text.split(ESCAPED).flatMap((part, odd) => odd % 2
      ? [part.charCodeAt(0) - ESCAPE] : Array.from(utf8.encode(part)));
  }

  decoder() {
    return new ByteDecoder();
  }
}

// Holds the bytes of a character back until it is complete.
class ByteDecoder {
  constructor() {
    this.held = [];
  }

  push(byte) {
    this.held.push(byte);
    let text = "";
    while (this.held.length) {
      const [size, valid] = measure(this.held);
      if (valid && size > this.held.length) break;
      const taken = this.held.splice(0, valid ? size : 1);
      text += valid ? characterOf(taken) : String.fromCharCode(ESCAPE + taken[0]);
    }
    return text;
  }

  flush() {
    return this.held.splice(0).map(byte => String.fromCharCode(ESCAPE + byte)).join("");
  }
}

// Return the bytes that a character of UTF-8 has by its first, and whether these may begin one.
function measure([first, second, ...others]) {
  const size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const [low, high] = SECOND[first] ?? [0x80, 0xbf];
  const begins = first < 0x80 || (first >= 0xc2 && first <= 0xf4);
  const goesOn = size === 1 || second === undefined || (second >= low && second <= high);
  return [size, begins && goesOn && others.every(byte => byte >= 0x80 && byte <= 0xbf)];
}

// The second byte is limited after these: no longer forms than needed, no surrogates, no code point
// above U+10FFFF.
const SECOND = {0xe0: [0xa0, 0xbf], 0xed: [0x80, 0x9f], 0xf0: [0x90, 0xbf], 0xf4: [0x80, 0x8f]};

function characterOf([first, ...others]) {
  const begin = first < 0x80 ? first : first & (0x3f >> others.length);
  return String.fromCodePoint(others.reduce((code, byte) => 64 * code + (byte & 0x3f), begin));
}

function openTokenizer({kind, alphabet}) {
  return kind === "byte" ? new ByteTokenizer() : new CharTokenizer(alphabet);
}

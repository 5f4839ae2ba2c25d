// Sampling of a token, and ghost text.

const SURE = 0.2; // probability of ghost text as a whole: below it the next word is left out
const GHOST = 60; // characters of ghost text at most
const NO_TEXT = /[\n\r\x1e\ufffd\udc80-\udcff]/u; // before these it ends
const SENTENCE = /\p{L}.*[.!?\u2026]["'\u2019\u201d\u00bb)]*\s$/u; // and behind these
// Characters of words; Chinese and Japanese ones are words of their own.
const LETTER = "(?![\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}])[\\p{L}\\p{N}'\u2019-]";
const IN_WORD = new RegExp(`^${LETTER}`, "u"), LAST_WORD = new RegExp(`(?:${LETTER})+$`, "u");

// Random numbers in [0, 1), the same for the same seed: SplitMix (Steele, Lea, Flood 2014) in 32 bits.
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

// Return the index of the largest score.
function best(scores) {
  return scores.reduce((found, score, id) => (score > scores[found] ? id : found), 0);
}

// Return softmax(scores / temperature).
function softmax(scores, temperature = 1) {
  const most = scores[best(scores)];
  const weights = scores.map(score => Math.exp((score - most) / temperature));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map(weight => weight / sum);
}

// Return scores that exclude tokens which stand for no text.
function allowed(scores, neverSampled) {
  for (const id of neverSampled) scores[id] = -Infinity;
  return scores;
}

// Sample a token; at temperature 0 the most likely one.
function sample(scores, temperature, random) {
  if (temperature === 0) return best(scores);
  const probs = softmax(scores, temperature);
  let left = random();
  for (let id = 0; id < probs.length; id++) {
    left -= probs[id];
    if (left < 0) return id;
  }
  return best(scores); // rounding left a little over
}

// Return what the model is sure of after the text that it has read: the most likely tokens, up to
// the end of the line or of a sentence, or before the word at which it is no longer sure.
function ghostText(model, tokenizer, before) {
  const decoder = tokenizer.decoder();
  let ahead = "", probability = 1;
  while (ahead.length < GHOST) {
    const probs = softmax(allowed(model.scores(), tokenizer.neverSampled)), id = best(probs);
    probability *= probs[id];
    const piece = decoder.push(id);
    if (probability < SURE) return wholeWords(before, ahead, piece);
    if (NO_TEXT.test(piece)) return ahead;
    ahead += piece;
    if (SENTENCE.test(ahead)) return ahead.trimEnd();
    model.read(id);
  }
  return wholeWords(before, ahead, "");
}

// Return a text ahead without the word at its end, unless what comes after begins another.
function wholeWords(before, ahead, after) {
  if (after && !IN_WORD.test(after)) return ahead.trimEnd();
  const word = (before.slice(-1) + ahead).match(LAST_WORD)?.[0] ?? "";
  return ahead.slice(0, Math.max(0, ahead.length - word.length)).trimEnd();
}

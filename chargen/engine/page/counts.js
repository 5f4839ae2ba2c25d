// N-gram counts beside the network, and the longest match with the training text.
//
// P_n(c | h) = own(hc) + rest(h) P_{n-1}(c | h'), P_0 = 1/V, where h' is h without its first token;
// the scores are a ln P_network + b ln P_counts, and more for the token that the match expects.

const TINY = 2 ** -126; // a token that the counts do not expect has a logarithm too
const MOST = 1 << 20, LENGTHS = 6; // tokens followed that are counted; lengths that are told apart

class Counts {
  constructor(arrays, vocabulary) {
    const part = name => arrays[`counts.${name}`]?.values;
    this.vocabulary = vocabulary;
    this.levels = [];
    for (let n = 1; part(`${n}.own`); n++)
      this.levels.push(levelOf(part(`${n}.lengths`), part(`${n}.tokens`), part(`${n}.own`)));
    [this.text, this.last] = [part("text"), part("last")];
  }

  // The state: the number of the context of each length that ends here, from 1, 0 if it is new; the
  // place of the expected token in the training text, 0 for none, and how many were followed.
  start() {
    return {contexts: this.levels.slice(1).map(() => 0), place: 0, followed: 0};
  }

  advance({contexts: before, place, followed}, id) {
    const shorter = [1, ...before], contexts = before.map((_, n) => this.find(n, shorter[n], id));
    const longest = contexts.length ? contexts.at(-1) : 1;
    if (place && this.text[place] === id)
      [place, followed] = [place + 1, Math.min(followed + 1, MOST)];
    else [place, followed] = [longest ? this.last[longest - 1] : 0, 0];
    return place < this.text.length ? {contexts, place, followed} : {contexts, place: 0, followed: 0};
  }

  // Return the number of the n-gram of a context and a token, or 0; tokens rise within a context.
  find(n, context, id) {
    if (!context) return 0;
    const {first, tokens} = this.levels[n];
    let [low, high] = [first[context - 1], first[context]];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (tokens[middle] < id) low = middle + 1;
      else high = middle;
    }
    return low < first[context] && tokens[low] === id ? low + 1 : 0;
  }

  // Return P of the next token (V).
  probabilities(contexts) {
    const row = new Float64Array(this.vocabulary).fill(1 / this.vocabulary);
    for (const [n, context] of [1, ...contexts].entries()) {
      if (!context) break;
      const {first, tokens, own, rest} = this.levels[n];
      for (let c = 0; c < row.length; c++) row[c] *= rest[context - 1];
      for (let gram = first[context - 1]; gram < first[context]; gram++)
        row[tokens[gram]] += own[gram];
    }
    return row;
  }

  mixed(scores, {contexts, place, followed}, {network, counts, match}) {
    const counted = this.probabilities(contexts);
    const mixed = scores.map((score, c) =>
      network * score + counts * Math.log(Math.max(counted[c], TINY)));
    if (place) mixed[this.text[place]] += match[lengthOf(followed)];
    return mixed;
  }
}

// 0, 1-2, 3-6, 7-14, 15-30, 31 or more
function lengthOf(followed) {
  return Math.min(32 - Math.clz32(followed + 1), LENGTHS) - 1;
}

// Return an order's n-grams with the place of the first of each context, and the probability that
// each context leaves to the shorter one.
function levelOf(lengths, tokens, own) {
  const first = new Uint32Array(lengths.length + 1), rest = new Float64Array(lengths.length);
  lengths.forEach((length, context) => {
    first[context + 1] = first[context] + length;
    let taken = 0;
    for (let gram = first[context]; gram < first[context + 1]; gram++) taken += own[gram];
    rest[context] = Math.min(1, Math.max(0, 1 - taken));
  });
  return {first, tokens, own, rest};
}

// N-gram counts beside the network, and the longest match with the training text.
//
// P_n(c | h) = own(hc) + rest(h) P_{n-1}(c | h'), P_0 = 1/V, where h' is h without its first token;
// the scores are a ln P_network + b ln P_counts + d ln P_label, and more for the token that the match
// expects. P_label counts the texts of the same label; without one it is P_counts.

const TINY = 2 ** -126; // a token that the counts do not expect has a logarithm too
const MOST = 1 << 20, LENGTHS = 6; // tokens followed that are counted; lengths that are told apart

// Tables of n-grams. The context of no token is the root: there is one, or one for each label.
class Grams {
  constructor(arrays, prefix, vocabulary) {
    const part = name => arrays[prefix + name]?.values;
    this.vocabulary = vocabulary;
    this.levels = [];
    for (let n = 1; part(`${n}.own`); n++)
      this.levels.push(levelOf(part(`${n}.lengths`), part(`${n}.tokens`), part(`${n}.own`)));
  }

  // The numbers of the contexts of each length that end here, from 1, 0 if they are new.
  start() {
    return this.levels.slice(1).map(() => 0);
  }

  advance(before, id, root) {
    const shorter = [root, ...before];
    return before.map((_, n) => this.find(n, shorter[n], id));
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
  probabilities(contexts, root) {
    const row = new Float64Array(this.vocabulary).fill(1 / this.vocabulary);
    for (const [n, context] of [root, ...contexts].entries()) {
      if (!context) break;
      const {first, tokens, own, rest} = this.levels[n];
      for (let c = 0; c < row.length; c++) row[c] *= rest[context - 1];
      for (let gram = first[context - 1]; gram < first[context]; gram++)
        row[tokens[gram]] += own[gram];
    }
    return row;
  }
}

class Counts {
  constructor(arrays, vocabulary) {
    this.all = new Grams(arrays, "counts.", vocabulary);
    this.own = new Grams(arrays, "label_counts.", vocabulary); // of each label, if there are any
    [this.text, this.last] = [arrays["counts.text"].values, arrays["counts.last"].values];
  }

  // The state: the contexts; the place of the expected token in the training text, 0 for none, and
  // how many were followed.
  start() {
    return {contexts: this.all.start(), own: this.own.start(), place: 0, followed: 0};
  }

  // Return the state after a token of a text with a label, -1 for none.
  advance({contexts: before, own: labelled, place, followed}, id, label) {
    const contexts = this.all.advance(before, id, 1);
    const own = this.own.advance(labelled, id, label + 1);
    const longest = contexts.length ? contexts.at(-1) : 1;
    if (place && this.text[place] === id)
      [place, followed] = [place + 1, Math.min(followed + 1, MOST)];
    else [place, followed] = [longest ? this.last[longest - 1] : 0, 0];
    if (place >= this.text.length) [place, followed] = [0, 0];
    return {contexts, own, place, followed};
  }

  mixed(scores, {contexts, own, place, followed}, label, {network, counts, labels, match}) {
    const ofAll = this.all.probabilities(contexts, 1);
    const mixed = scores.map((score, c) => network * score + counts * logOf(ofAll[c]));
    if (this.own.levels.length) {
      const ofLabel = label < 0 ? ofAll : this.own.probabilities(own, label + 1);
      for (let c = 0; c < mixed.length; c++) mixed[c] += labels * logOf(ofLabel[c]);
    }
    if (place) mixed[this.text[place]] += match[lengthOf(followed)];
    return mixed;
  }
}

function logOf(probability) {
  return Math.log(Math.max(probability, TINY));
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

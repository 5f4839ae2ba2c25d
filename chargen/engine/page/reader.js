// Reading of a text that changes, and generation after it, in slices that let messages come in.

const EVERY = 64; // tokens between two states that are kept of a text
const RECENT = 32; // ends of the last texts that are kept too: for keys, and for deletions
const SLICE = 12; // milliseconds of work before messages are looked at

class Reader {
  constructor(model, tokenizer) {
    Object.assign(this, {model, tokenizer, ids: []});
    this.states = new Map(); // by the number of tokens read
    this.ends = [];
    model.start();
    this.states.set(0, model.save());
  }

  // Read texts with another label from now on.
  relabel(label) {
    this.forget(0);
    this.ids = [];
    this.model.label = label;
  }

  // Bring the model into the state after a text; only what changed is read. Yields the part that was
  // read, from 0 to 1, after each token.
  *read(text) {
    const {end} = this.model.about; // of a record, which begins behind that of the one before
    const begun = end ? end + text.slice(text.lastIndexOf(end) + 1) : text || "\n";
    const ids = this.tokenizer.encode(begun);
    this.forget(shared(this.ids, ids));
    let at = Math.max(...this.states.keys());
    this.model.restore(this.states.get(at));
    this.ids = ids.slice(0, at);
    while (at < ids.length) {
      this.model.read(ids[at]);
      this.ids.push(ids[at++]);
      if (at % EVERY === 0) this.states.set(at, this.model.save());
      yield at / ids.length;
    }
    this.keepEnd(at);
  }

  forget(length) {
    for (const at of this.states.keys()) if (at > length) this.states.delete(at);
    this.ends = this.ends.filter(at => at <= length);
  }

  keepEnd(at) {
    this.states.set(at, this.model.save());
    this.ends.push(at);
    const old = this.ends.length > RECENT ? this.ends.shift() : 0;
    if (old % EVERY && !this.ends.includes(old)) this.states.delete(old);
  }

  // Generate after the text that was read; yields pieces of text. A line ends with its newline.
  *write({length, temperature, seed}) {
    const {end} = this.model.about;
    const {model, tokenizer} = this, decoder = tokenizer.decoder(), random = randomNumbers(seed);
    for (let written = 0; written < length;) {
      const scores = allowed(model.scores(), tokenizer.neverSampled);
      const id = sample(scores, temperature, random), piece = decoder.push(id);
      model.read(id);
      written += [...piece].length;
      if (piece === end && end !== "\n") return;
      yield piece;
      if (piece === end) return;
    }
    yield decoder.flush();
  }
}

// Return how many ids two texts begin with alike.
function shared(ours, theirs) {
  const length = Math.min(ours.length, theirs.length);
  for (let n = 0; n < length; n++) if (ours[n] !== theirs[n]) return n;
  return length;
}

// Do the steps of some work, slice by slice, and tell after each step and each slice; returns false
// if the work was given up.
async function inSlices(steps, goesOn, afterStep, afterSlice) {
  let began = performance.now();
  for (let step = steps.next(); !step.done; step = steps.next()) {
    afterStep(step.value);
    if (performance.now() - began < SLICE) continue;
    afterSlice();
    await messages();
    if (!goesOn()) return false;
    began = performance.now();
  }
  afterSlice();
  return true;
}

// Let messages come in; a timer would wait for four milliseconds each time.
function messages() {
  const {port1, port2} = new MessageChannel();
  return new Promise(resume => {
    port1.onmessage = () => { port1.close(); resume(); };
    port2.postMessage(null);
  });
}

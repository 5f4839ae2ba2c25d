// The network: ids in, scores of the next token out. The equations are those of chargen's own cells.
//
// Letters of sizes: I inputs, H hidden units, G blocks of H rows, V vocabulary, K tables of n-grams.

const NGRAMS = "ngrams.table.weight"; // rows of it are looked up: it is in no product

const sigma = a => 1 / (1 + Math.exp(-a));
const tanh = a => 2 * sigma(2 * a) - 1;
const softplus = a => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

// One step of each cell: x (I) is the input; h and c (H) are the state, which it changes.
const STEPS = {
  // h = tanh(W x + R h + b)
  "rnn"(own, x) {
    const a = own.sums(x);
    for (let k = 0; k < own.hidden; k++) own.h[k] = tanh(a[k]);
  },

  // h = max(0, W x + R h + b)
  "rnn-relu"(own, x) {
    const a = own.sums(x);
    for (let k = 0; k < own.hidden; k++) own.h[k] = Math.max(0, a[k]);
  },

  // i, f, g, o = W x + R h + b;  c = sigma(f) c + sigma(i) tanh(g);  h = sigma(o) tanh(c)
  "lstm"(own, x) {
    const [i, f, g, o] = own.blocks(own.sums(x), 4), {h, c} = own;
    for (let k = 0; k < own.hidden; k++) {
      c[k] = sigma(f[k]) * c[k] + sigma(i[k]) * tanh(g[k]);
      h[k] = sigma(o[k]) * tanh(c[k]);
    }
  },

  // The same, where i and f also read p c, and o reads p c of the new c.
  "lstm-peephole"(own, x) {
    const [i, f, g, o] = own.blocks(own.sums(x), 4), {h, c} = own;
    const [pi, pf, po] = own.blocks(own.peephole, 3);
    for (let k = 0; k < own.hidden; k++) {
      const before = c[k];
      c[k] = sigma(f[k] + pf[k] * before) * before + sigma(i[k] + pi[k] * before) * tanh(g[k]);
      h[k] = sigma(o[k] + po[k] * c[k]) * tanh(c[k]);
    }
  },

  // f, g, o = W x + R h + b;  c = sigma(f) c + (1 - sigma(f)) tanh(g);  h = sigma(o) tanh(c)
  "lstm-coupled"(own, x) {
    const [f, g, o] = own.blocks(own.sums(x), 3), {h, c} = own;
    for (let k = 0; k < own.hidden; k++) {
      c[k] = mixed(sigma(f[k]), c[k], tanh(g[k]));
      h[k] = sigma(o[k]) * tanh(c[k]);
    }
  },

  // i, f, g, o = LN(W x) + LN(R h);  c as in the LSTM;  h = sigma(o) tanh(LN(c))
  "lstm-norm"(own, x) {
    const u = normed(own.inputs(x), own.gain_ih_l0, own.bias_ih_l0, 4 * own.hidden);
    const v = normed(own.recurrent(own.h), own.gain_hh_l0, own.bias_hh_l0, 4 * own.hidden);
    const [i, f, g, o] = own.blocks(u.map((value, k) => value + v[k]), 4), {h, c} = own;
    for (let k = 0; k < own.hidden; k++) c[k] = sigma(f[k]) * c[k] + sigma(i[k]) * tanh(g[k]);
    const memory = normed(c, own.gain_c, own.bias_c, own.hidden);
    for (let k = 0; k < own.hidden; k++) h[k] = sigma(o[k]) * tanh(memory[k]);
  },

  // r, z = sigma(W x + R h + b);  n = tanh(W x + b + r (R h + b));  h = (1 - z) n + z h
  "gru"(own, x) {
    const [ur, uz, un] = own.blocks(own.inputs(x), 3), {h} = own;
    const [vr, vz, vn] = own.blocks(own.recurrent(h), 3);
    for (let k = 0; k < own.hidden; k++) {
      const n = tanh(un[k] + sigma(ur[k] + vr[k]) * vn[k]);
      h[k] = mixed(sigma(uz[k] + vz[k]), h[k], n);
    }
  },

  // r, z = sigma(W x + R h + b);  n = tanh(W x + b + R (r h));  h = (1 - z) n + z h
  "gru-before"(own, x) {
    const [ur, uz, un] = own.blocks(own.inputs(x), 3), {h, spare} = own;
    const [vr, vz, vn] = own.blocks(own.recurrent(h), 3);
    const z = uz.map((value, k) => sigma(value + vz[k]));
    for (let k = 0; k < own.hidden; k++) spare[k] = sigma(ur[k] + vr[k]) * h[k];
    own.recurrent(spare); // the whole product again, of which n needs a third
    for (let k = 0; k < own.hidden; k++) h[k] = mixed(z[k], h[k], tanh(un[k] + vn[k]));
  },

  // z, g = W x + b;  h = (1 - sigma(z)) h + sigma(z) g
  "mingru"(own, x) {
    const [z, g] = own.blocks(own.inputs(x), 2), {h} = own;
    for (let k = 0; k < own.hidden; k++) h[k] = mixed(sigma(-z[k]), h[k], g[k]);
  },

  // f, i, g = W x + b;  k = sigma(f) / (sigma(f) + sigma(i));  h = k h + (1 - k) g
  "minlstm"(own, x) {
    const [f, i, g] = own.blocks(own.inputs(x), 3), {h} = own;
    for (let k = 0; k < own.hidden; k++)
      h[k] = mixed(sigma(softplus(-i[k]) - softplus(-f[k])), h[k], g[k]);
  },
};

function mixed(fraction, one, other) {
  return fraction * one + (1 - fraction) * other;
}

// LN(a; gain, bias) = gain (a - mean) / sqrt(variance + 1e-5) + bias, of the first numbers of a.
function normed(a, gain, bias, size) {
  let mean = 0, variance = 0;
  for (let k = 0; k < size; k++) mean += a[k] / size;
  for (let k = 0; k < size; k++) variance += (a[k] - mean) ** 2 / size;
  return gain.map((value, k) => value * (a[k] - mean) / Math.sqrt(variance + 1e-5) + bias[k]);
}

// Memory that the products read and write: vectors and matrices, one behind the other.
class Heap {
  constructor(tensors) {
    // Each matrix with whole blocks of rows, its inputs and its products.
    const floats = ([rows, columns]) => (rows + 2 * BLOCK) * (columns + 4);
    const matrices = tensors.filter(({name, shape}) => shape.length === 2 && name !== NGRAMS);
    const needed = matrices.reduce((sum, {shape}) => sum + floats(shape), 0);
    this.memory = new WebAssembly.Memory({initial: Math.ceil(needed / 16384)}); // pages of 64 KiB
    this.kernel = openKernel(this.memory);
    this.end = 0;
  }

  take(size) {
    const vector = new Float32Array(this.memory.buffer, this.end, size);
    this.end += 4 * BLOCK * Math.ceil(size / BLOCK);
    return vector;
  }
}

// A matrix whose rows are whole numbers, each row with a factor of its own.
class Table {
  constructor({values, shape}, {values: scales}) {
    [this.rows, this.columns] = shape;
    Object.assign(this, {values, scales});
  }

  addRow(row, sums) {
    const begin = row * this.columns, scale = this.scales[row];
    for (let n = 0; n < this.columns; n++) sums[n] += scale * this.values[begin + n];
  }

  // Return all rows, one behind the other.
  dense() {
    return Float32Array.from(this.values, (value, n) =>
      value * this.scales[Math.floor(n / this.columns)]);
  }
}

// A matrix for products with vectors.
class Matrix {
  constructor(heap, {rows, columns, values, scales}) {
    const blocks = Math.ceil(rows / BLOCK);
    Object.assign(this, {heap, columns, size: blocks * BLOCK});
    this.weights = heap.take(this.size * columns);
    for (let row = 0, from = 0; row < rows; row++) {
      let to = (row - row % BLOCK) * columns + row % BLOCK;
      for (let n = 0; n < columns; n++, to += BLOCK)
        this.weights[to] = scales[row] * values[from++];
    }
  }

  // sums += W x
  addProduct(x, sums) {
    const [from, to] = [x.byteOffset, sums.byteOffset];
    this.heap.kernel.product(
      this.weights.byteOffset, from, from + 4 * this.columns, to, to + 4 * this.size);
  }
}

class Layer {
  constructor(heap, {kind, hidden}, arrays, prefix, h, c) {
    Object.assign(this, {hidden, h, c, step: STEPS[kind]});
    for (const [name, {values, shape}] of Object.entries(arrays))
      if (name.startsWith(prefix) && shape.length === 1) this[name.slice(prefix.length)] = values;
    this.peephole = tableOf(arrays, `${prefix}peephole`)?.dense();
    this.input = new Matrix(heap, tableOf(arrays, `${prefix}weight_ih_l0`));
    const recurrent = tableOf(arrays, `${prefix}weight_hh_l0`);
    this.again = recurrent && new Matrix(heap, recurrent);
    this.plain = kind === "lstm-norm"; // its biases are added later
    [this.u, this.v] = [heap.take(this.input.size), heap.take(this.input.size)];
    this.spare = heap.take(hidden);
  }

  // Return W x + b (G*H).
  inputs(x) {
    this.begin(this.u, this.bias_ih_l0);
    this.input.addProduct(x, this.u);
    return this.u;
  }

  // Return R h + b (G*H).
  recurrent(h) {
    this.begin(this.v, this.bias_hh_l0);
    this.again.addProduct(h, this.v);
    return this.v;
  }

  // Return W x + R h + b (G*H).
  sums(x) {
    this.inputs(x);
    this.again.addProduct(this.h, this.u);
    for (let k = 0; this.bias_hh_l0 && k < this.bias_hh_l0.length; k++)
      this.u[k] += this.bias_hh_l0[k];
    return this.u;
  }

  begin(sums, bias) {
    sums.fill(0);
    if (bias && !this.plain) sums.set(bias);
  }

  // Return the blocks of H rows.
  blocks(a, count) {
    return Array.from({length: count},
      (_, n) => a.subarray(n * this.hidden, (n + 1) * this.hidden));
  }
}

function tableOf(arrays, name) {
  return arrays[name] && new Table(arrays[name], arrays[`${name}.scale`]);
}

// Embeddings of the n-grams that end with each token: rows of hashed tables,
// row of order n = (sum over j < n of code(j tokens ago) P^j) mod R_n, with P = 1000003.
class NGrams {
  constructor({rows, codes}, table) {
    Object.assign(this, {rows, codes, table});
    let begin = 0;
    this.tables = rows.map((size, n) => {
      const powers = [1 % size];
      while (powers.length < n + 2) powers.push((powers.at(-1) * (1000003 % size)) % size);
      begin += size;
      return {size, powers, begin: begin - size};
    });
  }

  // The state: codes of the last tokens, the latest first; 0 is "before the text".
  start() {
    return this.rows.map(() => 0);
  }

  // Add the rows of the n-grams to an embedding and return the next state.
  add(id, before, sums) {
    const codes = [this.codes[id], ...before];
    for (const {size, powers, begin} of this.tables) {
      const sum = powers.reduce((total, power, back) => total + power * codes[back], 0);
      this.table.addRow(begin + sum % size, sums);
    }
    return codes.slice(0, -1);
  }
}

// A model. `read` takes one token, `scores` tells what comes next; `save` and `restore` its state.
class Model {
  constructor(about, arrays) {
    this.about = about;
    const {layers, ngrams, mixture} = about;
    const heap = new Heap(about.tensors);
    this.kernel = heap.kernel.by;
    this.embedding = tableOf(arrays, "embedding.weight");
    this.ngrams = ngrams && new NGrams(ngrams, tableOf(arrays, NGRAMS));
    this.labels = tableOf(arrays, "labels.weight");
    this.label = -1; // row of the label of the text; none is below 0
    this.counts = mixture && new Counts(arrays, about.vocabulary);
    this.x = heap.take(about.embedding);
    const width = layers.reduce((sum, {hidden}) => sum + hidden, 0);
    this.state = heap.take(2 * width); // all h, then all c
    this.layers = layers.map((layer, n) => {
      const begin = layers.slice(0, n).reduce((sum, {hidden}) => sum + hidden, 0);
      const part = from => this.state.subarray(from, from + layer.hidden);
      return new Layer(heap, layer, arrays, `layers.${n}.`, part(begin), part(width + begin));
    });
    this.head = new Matrix(heap, tableOf(arrays, "head.weight"));
    this.bias = arrays["head.bias"].values;
    this.logits = heap.take(this.head.size);
    this.start();
  }

  start() {
    this.state.fill(0);
    this.codes = this.ngrams?.start();
    this.known = this.counts?.start();
  }

  save() {
    return {state: this.state.slice(), codes: this.codes, known: this.known};
  }

  restore({state, codes, known}) {
    this.state.set(state);
    Object.assign(this, {codes, known});
  }

  read(id) {
    this.x.fill(0);
    this.embedding.addRow(id, this.x);
    if (this.label >= 0) this.labels.addRow(this.label, this.x);
    if (this.ngrams) this.codes = this.ngrams.add(id, this.codes, this.x);
    if (this.counts) this.known = this.counts.advance(this.known, id, this.label);
    let x = this.x;
    for (const layer of this.layers) {
      layer.step(layer, x);
      x = layer.h;
    }
  }

  // Return unnormalised log probabilities of the next token (V).
  scores() {
    this.logits.fill(0);
    this.logits.set(this.bias);
    this.head.addProduct(this.state, this.logits); // reads the h of all layers
    const scores = Float64Array.from(this.logits.subarray(0, this.about.vocabulary));
    if (!this.counts) return scores;
    return this.counts.mixed(scores, this.known, this.label, this.about.mixture);
  }
}

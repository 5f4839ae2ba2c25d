// Matrix products in WebAssembly: y += W x, four numbers in each instruction.
//
// The function below is WebAssembly text as its specification writes it, one instruction a line, and
// `assemble` turns it into the bytes that a browser runs. Weights lie in blocks of 32 rows: column
// after column, the 32 weights of a column side by side. So they are read from the first to the last,
// and eight vectors hold the 32 sums. With typed arrays alone a product takes seven times as long.

const BLOCK = 32; // rows
const LANES = [0, 1, 2, 3, 4, 5, 6, 7]; // vectors of four rows

const PRODUCT = `
  loop                            ;; blocks of rows
    ${LANES.map(n => `
    local.get y
    v128.load ${16 * n}
    local.set sum${n}`).join("")}
    local.get x
    local.set at
    loop                          ;; columns
      local.get at
      v128.load32_splat 0         ;; the same x in all four lanes
      local.set value
      ${LANES.map(n => `
      local.get w
      v128.load ${16 * n}
      local.get value
      f32x4.mul
      local.get sum${n}
      f32x4.add
      local.set sum${n}`).join("")}
      local.get w
      i32.const ${4 * BLOCK}
      i32.add
      local.set w
      local.get at
      i32.const 4
      i32.add
      local.tee at
      local.get xEnd
      i32.lt_u
      br_if 0
    end
    ${LANES.map(n => `
    local.get y
    local.get sum${n}
    v128.store ${16 * n}`).join("")}
    local.get y
    i32.const ${4 * BLOCK}
    i32.add
    local.tee y
    local.get yEnd
    i32.lt_u
    br_if 0
  end`;

const PARAMETERS = ["w", "x", "xEnd", "y", "yEnd"]; // addresses in bytes
const VECTORS = [...LANES.map(n => `sum${n}`), "value"];
const NAMES = [...PARAMETERS, "at", ...VECTORS];
const [I32, V128, FUNCTION, NO_RESULT] = [0x7f, 0x7b, 0x60, 0x40];

// The code of each instruction, and how its argument is written behind it.
const local = name => number(NAMES.indexOf(name));
const label = depth => number(+depth);
const memory = offset => [0, ...number(+offset)]; // 0: any alignment
const INSTRUCTIONS = {
  "loop": [[0x03, NO_RESULT]],
  "end": [[0x0b]],
  "br_if": [[0x0d], label],
  "local.get": [[0x20], local],
  "local.set": [[0x21], local],
  "local.tee": [[0x22], local],
  "i32.const": [[0x41], signed],
  "i32.lt_u": [[0x49]],
  "i32.add": [[0x6a]],
  "v128.load": [[0xfd, 0x00], memory],
  "v128.load32_splat": [[0xfd, 0x09], memory],
  "v128.store": [[0xfd, 0x0b], memory],
  "f32x4.add": [[0xfd, 0xe4, 0x01]],
  "f32x4.mul": [[0xfd, 0xe6, 0x01]],
};

// A whole number from 0 up in groups of seven bits, the lowest first (LEB128).
function number(value) {
  return value < 128 ? [value] : [(value % 128) | 128, ...number(value >> 7)];
}

// The same for numbers that could be negative: the highest bit of the last group is the sign.
function signed(value) {
  return +value < 64 ? [+value] : [(value % 128) | 128, ...signed(value >> 7)];
}

const list = items => [...number(items.length), ...items.flat()];
const section = (id, content) => [id, ...list(content)];
const characters = string => [...string].map(character => character.charCodeAt(0));
const name = string => list(characters(string));

function instructions(lines) {
  return lines.split("\n").map(line => line.split(";;")[0].trim()).filter(Boolean).flatMap(line => {
    const [word, argument] = line.split(/\s+/);
    const [code, write] = INSTRUCTIONS[word];
    return write ? [...code, ...write(argument)] : code;
  });
}

function assemble() {
  const locals = list([[1, I32], [VECTORS.length, V128]]);
  const body = [...locals, ...instructions(PRODUCT), 0x0b];
  return new Uint8Array([
    ...characters("\0asm"), 1, 0, 0, 0,
    ...section(1, list([[FUNCTION, ...list(PARAMETERS.map(() => I32)), ...list([])]])),
    ...section(2, list([[...name("page"), ...name("memory"), 2, 0, 1]])),
    ...section(3, list([0])),
    ...section(7, list([[...name("product"), 0, 0]])),
    ...section(10, list([[...number(body.length), ...body]])),
  ]);
}

// Return product(w, x, xEnd, y, yEnd) on a memory, and what computes it.
function openKernel(memory) {
  try {
    const module = new WebAssembly.Module(assemble());
    const {exports} = new WebAssembly.Instance(module, {page: {memory}});
    return {product: exports.product, by: "WebAssembly SIMD"};
  } catch { // an old browser, or one that forbids it
    return {product: plainProduct(new Float32Array(memory.buffer)), by: "typed arrays"};
  }
}

// The same product without WebAssembly, four rows at a time.
function plainProduct(numbers) {
  return (w, x, xEnd, y, yEnd) => {
    const first = x / 4, columns = (xEnd - x) / 4;
    for (let row = y / 4, block = w / 4; row < yEnd / 4; row += 4) {
      let [a, b, c, d] = [numbers[row], numbers[row + 1], numbers[row + 2], numbers[row + 3]];
      const lane = (row - y / 4) % BLOCK;
      for (let n = 0, at = block + lane; n < columns; n++, at += BLOCK) {
        const value = numbers[first + n];
        a += numbers[at] * value;
        b += numbers[at + 1] * value;
        c += numbers[at + 2] * value;
        d += numbers[at + 3] * value;
      }
      numbers.set([a, b, c, d], row);
      if (lane === BLOCK - 4) block += BLOCK * columns;
    }
  };
}

// Arrays of the model: from the characters of this file to numbers.
//
// Two characters hold 13 bits: 91 x 91 pairs are more than 2^13. These bits are bytes compressed by
// zlib, and those are the arrays, one behind the other: first the lowest byte of each number, then the
// next, and so on, because bytes of one kind compress better.

const FIRST = 33, LEFT_OUT = "<&\\"; // the characters are those from ! to ~ that mean nothing in HTML
const TYPES = {
  float32: Float32Array, int8: Int8Array, int16: Int16Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
};

function digits() {
  const values = new Uint8Array(128);
  let next = 0;
  for (let code = FIRST; code < 127; code++)
    if (!LEFT_OUT.includes(String.fromCharCode(code))) values[code] = next++;
  return values;
}

// Return the bytes that lines of text hold.
function bytesOf(text, size) {
  const values = digits(), bytes = new Uint8Array(size);
  let bits = 0, held = 0, first = -1, at = 0;
  for (let place = 0; place < text.length; place++) {
    const code = text.charCodeAt(place);
    if (code < FIRST) continue; // between two lines
    if (first < 0) { first = values[code]; continue; }
    bits = (bits << 13) | (first + 91 * values[code]);
    first = -1;
    for (held += 13; held >= 8 && at < size; held -= 8) bytes[at++] = bits >> (held - 8);
    bits &= 0xff;
  }
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Return the arrays by name: {values, shape}.
async function openArrays(text, {size, tensors}) {
  const bytes = await inflated(bytesOf(text, size)).catch(() => {
    throw new Error("the model in this file is not whole; get the file again");
  });
  const arrays = {};
  let begin = 0;
  for (const {name, type, shape} of tensors) {
    const values = new TYPES[type](shape.reduce((product, side) => product * side, 1));
    const own = new Uint8Array(values.buffer), width = values.BYTES_PER_ELEMENT;
    for (let part = 0; part < width; part++, begin += values.length)
      for (let n = 0; n < values.length; n++) own[n * width + part] = bytes[begin + n];
    arrays[name] = {values, shape};
  }
  return arrays;
}

// The worker: it holds the model and answers the page. Each request has a number; a newer one, or a
// stop, ends what is being done for an older one.

let reader = null, latest = 0;

const LONG = 100; // milliseconds of reading
const TRIAL = 200; // tokens read to measure the speed
const tell = (kind, job, more) => self.postMessage({kind, job, ...more});

async function open({about, weights}) {
  const model = new Model(about, await openArrays(weights, about));
  const tokenizer = openTokenizer(about.tokenizer);
  reader = new Reader(model, tokenizer);
  tell("ready", 0, {rate: speedOf(model), by: model.kernel});
}

// Return the tokens a second with which a model generates.
function speedOf(model) {
  let began = 0;
  for (let n = -TRIAL; n < TRIAL; n++) { // the first half lets the browser compile
    if (n === 0) began = performance.now();
    model.read(best(model.scores()));
  }
  return 1000 * TRIAL / (performance.now() - began);
}

// Read the text before the cursor; returns false if something newer is asked for. How far a long one
// is read is told, and its end.
function readText(job, text) {
  const began = performance.now();
  let part = 1;
  return inSlices(reader.read(text), () => job === latest, read => { part = read; }, () => {
    if (performance.now() - began > LONG) tell("reading", job, {part});
  });
}

async function ghost(job, {text}) {
  if (!await readText(job, text)) return;
  tell("ghost", job, {text: ghostText(reader.model, reader.tokenizer, text)});
}

async function write(job, {text, settings}) {
  if (!await readText(job, text)) return;
  const began = performance.now();
  let held = "", written = 0;
  const keep = piece => { held += piece; written += piece.length; };
  const send = () => {
    tell("text", job, {text: held, rate: 1000 * written / (performance.now() - began)});
    held = "";
  };
  if (await inSlices(reader.write(settings), () => job === latest, keep, send)) tell("done", job);
}

const ANSWERS = {
  open: (_, request) => open(request),
  label: (_, {label}) => reader.relabel(label),
  ghost, write, stop: () => {},
};

self.onmessage = ({data}) => {
  latest = data.job;
  Promise.resolve(ANSWERS[data.kind](data.job, data))
    .catch(error => tell("failed", data.job, {message: error.message}));
};

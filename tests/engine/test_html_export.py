"""A model as one HTML file: its engine is ours, in each cell, and so is what it writes."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chargen.engine import html, make_engine, open_engine
from chargen.engine.html import DIGITS, LIMIT, PAGE, Exported, to_html
from chargen.errors import ConfigError
from chargen.model.int8 import SCALE
from chargen.model.ngrams import NGramConfig, token_codes
from chargen.model.saved import SavedModel, open_model, read_model, save_model
from chargen.model.spec import CELLS, ModelConfig, parse_stack, weight_shapes
from chargen.sampling.filters import probabilities
from chargen.sampling.sampler import load
from chargen.storage.checkpoint import Tensors
from chargen.tokenizers import Tokenizer, build_tokenizer
from tests.conftest import Run
from tests.engine.parrot import parrot
from tests.processes import finish

STACKS = [*(f"{kind}:37" for kind in CELLS), "gru:12,lstm:40,rnn:9"]
ALPHABET = "\n &<>abcdefghijé\U0001f469"
CHAR = build_tokenizer("char", ALPHABET, 0)
HOSTILE = (
    "</script><script>alert(1)</script><!-- \0\x1b[31m\u202e & \" ' é\U0001f469 𝔘 \x7f\x85\ufffd"
)
NODE = shutil.which("node")

# What the page does in its worker, asked from outside: the program of a page and its model.
HARNESS = r"""
const fs = require("fs");
const page = fs.readFileSync(process.argv[1], "utf8"), asked = JSON.parse(fs.readFileSync(0));
const part = id => page.split(`id="${id}">`)[1].split("</script>")[0];
const code = `${part("worker")}; return {
  async open() {
    const about = JSON.parse(arguments[0]), arrays = await openArrays(arguments[1], about);
    return [new Model(about, arrays), openTokenizer(about.tokenizer)];
  }, Reader, ByteDecoder, ghostText, softmax, openKernel, plainProduct, randomNumbers}`;
const ours = new Function("self", code)({});
(async () => {
  const [model, tokenizer] = await ours.open(part("about"), part("weights"));
  const reader = new ours.Reader(model, tokenizer);
  const read = text => { for (const step of reader.read(text)); };
  const answers = {
    kernel: () => model.kernel,
    label: row => reader.relabel(row),
    ids: text => tokenizer.encode(text),
    decoded({ids}) {
      const decoder = tokenizer.decoder();
      return [...ids.map(id => decoder.push(id)), decoder.flush()];
    },
    probabilities(text) {
      model.start();
      return tokenizer.encode(text).map(id => {
        model.read(id);
        return Array.from(ours.softmax(model.scores()));
      });
    },
    plain(text) { // the same without WebAssembly
      model.layers[0].input.heap.kernel.product =
        ours.plainProduct(new Float32Array(model.state.buffer));
      return this.probabilities(text);
    },
    after: text => (read(text), Array.from(ours.softmax(model.scores()))),
    write({text, ...settings}) {
      read(text);
      return [...reader.write(settings)].join("");
    },
    ghost: text => (read(text), ours.ghostText(model, tokenizer, text)),
  };
  console.log(JSON.stringify(asked.map(([name, given]) => answers[name](given))));
})();
"""


@pytest.fixture
def node() -> None:
    if NODE is None:
        pytest.skip("no node to run the page's program with")


def saved(
    stack: str, tokenizer: Tokenizer = CHAR, path: str = "m.safetensors", **more: Any
) -> SavedModel:
    """Return a model with random weights, saved."""
    config = ModelConfig(tokenizer.vocab_size, parse_stack(stack), more.pop("embedding", 6), **more)
    rng = np.random.default_rng(0)
    scale = 0.5 if "rnn" in stack else 1.0  # larger ones let it explode, or make it chaotic
    weights = {
        name: (scale * (("gain" in name) + rng.normal(0, 0.35, shape))).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    save_model(Path(path), weights, config, tokenizer, {})
    return read_model(Path(path))


def text_of(alphabet: str, length: int = 1000) -> str:
    return "".join(np.random.default_rng(1).choice(list(alphabet), length))


def exported(model: SavedModel, **options: bool) -> Exported:
    found = to_html(model, **options)
    Path("page.html").write_bytes(found.page)
    return found


def ask(*questions: tuple[str, Any]) -> list[Any]:
    """Return what the program of ``page.html`` answers."""
    done = finish([str(NODE), "-e", HARNESS, "page.html"], text=True, input=json.dumps(questions))
    answers: list[Any] = json.loads(done.stdout)
    return answers


class Parts(HTMLParser):
    """The content of each element that has an id, as a browser finds it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.within, self.content = "", dict[str, str]()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.within = dict(attrs).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.content[self.within] = self.content.get(self.within, "") + data


def weights_in(page: bytes) -> Tensors:
    """Return the weights that a page holds, in float32: read once more, from its description."""
    parts = Parts(page.decode("ascii")).content
    about = json.loads(parts["about"])
    first, second = np.array([DIGITS.index(c) for c in "".join(parts["weights"].split()).encode()]
                             ).reshape(-1, 2).T  # fmt: skip
    bits = "".join(f"{pair:013b}" for pair in (first + 91 * second).tolist())
    data = zlib.decompress(int(bits[: 8 * about["size"]], 2).to_bytes(about["size"]))
    arrays: Tensors = {}
    for tensor in about["tensors"]:
        kind, count = np.dtype(tensor["type"]), int(np.prod(tensor["shape"]))
        planes = np.frombuffer(data, np.uint8, count * kind.itemsize).reshape(kind.itemsize, count)
        arrays[tensor["name"]] = planes.T.copy().view(kind).reshape(tensor["shape"])
        data = data[planes.size :]
    return {
        name: array * arrays[name + SCALE][:, None] if name + SCALE in arrays else array
        for name, array in arrays.items()
        if not name.endswith(SCALE)
    }


def expected(model: SavedModel, page: bytes, text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what our engine says after each character, with the weights of a page."""
    engine = make_engine(weights_in(page), model.config, "cpu", 1)
    ids = model.tokenizer.encode(text).astype(np.int64)[None]
    return probabilities(engine.run(ids, engine.init_state(1))[0][0])


# -- the engine ---------------------------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS)
def test_its_probabilities_are_those_of_our_engine(node: None, stack: str) -> None:
    model, text = saved(stack), text_of(ALPHABET + "Z")
    page = exported(model).page
    kernel, found = ask(("kernel", None), ("probabilities", text))
    assert kernel == "WebAssembly SIMD"
    np.testing.assert_allclose(found, expected(model, page, text), rtol=0, atol=1e-4)


def test_a_browser_without_webassembly_computes_the_same(node: None) -> None:
    page = exported(model := saved("lstm:37")).page
    (found,) = ask(("plain", text := text_of(ALPHABET, 50)))
    np.testing.assert_allclose(found, expected(model, page, text), rtol=0, atol=1e-5)


def test_ngram_embeddings_and_bytes(node: None) -> None:
    tokenizer = build_tokenizer("byte", [], 0)
    ngrams = NGramConfig((97, 1009, 4093), token_codes(tokenizer.pieces))
    page = exported(model := saved("gru:37", tokenizer, ngrams=ngrams)).page
    text = text_of(ALPHABET + "\udcff\udc80")
    ids, found = ask(("ids", text), ("probabilities", text))
    assert ids == tokenizer.encode(text).tolist()
    np.testing.assert_allclose(found, expected(model, page, text), rtol=0, atol=1e-4)
    random = np.random.default_rng(2).integers(256, size=3000)
    near = [*b"\xf0\x9f\x91\xa9\xed\xa0\x80\xe2\x82\xf4\x90\x80\x80\xc3\xa9\xe2\x82\xac\xf0\x9f"]
    for these in (random.tolist(), near):
        decoder = tokenizer.decoder()
        pieces = [*map(decoder.push, these), decoder.flush()]
        (decoded,) = ask(("decoded", {"ids": these}))
        assert "".join(decoded) == "".join(pieces) == tokenizer.decode(these)


def test_a_trained_model_with_its_counts(node: None, with_model: Path, prose: str) -> None:
    """Against the engine of the model as it is: weights that were not rounded, and the counts."""
    model, text = open_model("small"), f"{prose[3000:3500]}§ {prose[-498:]}"
    assert model.mixture
    assert model.config.ngrams
    found = exported(model)
    assert found.has_text
    engine = open_engine(model, "cpu", 1)
    ids = model.tokenizer.encode(text).astype(np.int64)[None]
    ours = probabilities(engine.run(ids, engine.init_state(1))[0][0])
    (theirs,) = ask(("probabilities", text))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-3)
    assert len(found.page) - len(exported_page()) < LIMIT * found.weights


def exported_page() -> bytes:
    """Return the files of the page without a model."""
    return b"".join(path.read_bytes() for path in PAGE.iterdir())


def test_int8_stays_as_it_is_and_other_weights_have_as_many_bits_as_fit(isolated: Path) -> None:
    model = saved("lstm:512", embedding=64)
    found = exported(model)
    assert LIMIT - 0.15 < len(found.page) / found.weights < LIMIT
    assert found.bits == 9
    assert exported(model, int8=True).bits == 8
    stored = model.weights()
    save_model(Path("int8.safetensors"), stored, model.config, CHAR, {}, int8=True)
    same = exported(read_model(Path("int8.safetensors")))
    assert same.bits is None
    assert len(same.page) < 1.3 * same.weights
    held = weights_in(same.page)
    for name, weight in read_model(Path("int8.safetensors")).weights().items():
        np.testing.assert_array_equal(held[name], weight)


# -- generation ---------------------------------------------------------------------------


def test_texts_are_read_from_where_they_changed(node: None, with_model: Path, prose: str) -> None:
    exported(open_model("small"))
    long = prose[:300]
    texts = [long, long + " a", long + " ", long[:130] + "x" + long[131:], "", "T", long]
    found = ask(*(("after", text) for text in texts), ("probabilities", long))
    (*_, alone) = ask(*(("after", text) for text in texts[3:4]))
    np.testing.assert_allclose(found[3], alone, rtol=0, atol=1e-12)
    for after in (found[0], found[6]):
        np.testing.assert_allclose(after, found[-1][-1], rtol=0, atol=1e-12)


def test_seeds_and_the_most_likely_text(node: None, with_model: Path) -> None:
    exported(open_model("small"))
    settings = {"text": "The value", "length": 60, "temperature": 0.8, "seed": 7}
    one, same, other, greedy = ask(
        ("write", settings),
        ("write", settings),
        ("write", {**settings, "seed": 8}),
        ("write", {**settings, "temperature": 0}),
    )
    assert one == same != other
    assert len(one) == 60
    sampler = load("small", threads=1)
    assert greedy == "".join(sampler.generate("The value", temperature=0, length=60))


def test_ghost_text_is_what_the_model_is_sure_of(node: None) -> None:
    exported(parrot("Twelve grey cats sat. Nine.\nOne more line\n"))
    prompts = ("Twelve grey", "Twelve grey ca", "sat. ", "Nine", "Nine.\n", "grey cats sat")
    found = ask(*(("ghost", prompt) for prompt in prompts))
    assert found == [" cats sat.", "ts sat.", "Nine.", ".", "One more line", ". Nine."]


def test_bytes_that_are_no_text_are_generated_whole(node: None) -> None:
    exported(saved("gru:12", build_tokenizer("byte", [], 0)))
    settings = {"text": "", "length": 300, "temperature": 1.5, "seed": 1}
    (text,) = ask(("write", settings))
    assert len(text) >= 300


# -- the file -----------------------------------------------------------------------------


def test_nothing_comes_from_elsewhere_and_nothing_ends_its_element(isolated: Path) -> None:
    tokenizer = build_tokenizer("char", HOSTILE, 0)
    page = exported(saved("rnn:3", tokenizer, "<b>&'\"$title<script>.safetensors")).page.decode()
    parts = Parts(page)
    assert json.loads(parts.content["about"])["tokenizer"]["alphabet"] == tokenizer.to_json()[
        "alphabet"
    ]  # fmt: skip
    assert parts.content["title"].strip() == "<b>&'\"$title<script>"
    names = {name for name, _ in parts.attributes}
    assert not names & {"src", "href", "style", "onclick"}
    assert page.count("</script>") == 4
    assert "://" not in page
    policy = dict(parts.attributes)["content"]
    assert policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert re.fullmatch(r"[\n -~]*", page.encode("ascii", "replace").decode())


@pytest.mark.parametrize("given", [(), ("--onnx", "a", "--html", "b")])
def test_exactly_one_file_is_named(chargen: Run, given: tuple[str, ...]) -> None:
    done = chargen("export", *given)
    assert done.returncode == 2
    message = "name one file: --onnx FILE for other programs, or --html FILE"
    assert done.stderr == f"chargen: {message}\n"


def test_the_command_says_what_the_page_holds(chargen: Run, with_model: Path) -> None:
    done = chargen("export", "--html", "small.html")
    assert done.stdout == "small.html\n"
    first, second = done.stderr.splitlines()
    assert re.fullmatch(
        r"\d\.\d MB: [\d,]+ weights, \d\.\d\d bytes each, rounded to \d+ bits", first
    )
    assert second == "the page holds the training text, in its n-gram counts"
    again = chargen("export", "--html", "small.html")
    assert again.stderr == "chargen: 'small.html' exists; name another file, or add --force\n"


def test_what_a_page_cannot_hold_is_refused(prose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved("rnn:3", build_tokenizer("bpe", prose[:5000], 300))
    with pytest.raises(ConfigError, match=r"this model has bpe; export it with --onnx"):
        to_html(model)
    monkeypatch.setattr(html, "MOST_WEIGHTS", 100)
    with pytest.raises(ConfigError, match=r"100 weights at most; this model has \d+; export"):
        to_html(saved("rnn:3"))

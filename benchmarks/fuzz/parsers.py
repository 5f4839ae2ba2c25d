"""Random input for all that parses: none may end in anything but an error of ours.

The cases come from hypothesis, which prints the smallest input that breaks a target.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from chargen import load
from chargen.cli import app
from chargen.cli.settings import read_settings
from chargen.config import ReadConfig, TrainConfig
from chargen.data.dataset import read_text, tokenize
from chargen.errors import ChargenError
from chargen.model.saved import load_weights, read_model, save_model
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes
from chargen.storage.checkpoint import read_metrics, write_tensors
from chargen.tokenizers import Tokenizer, build_tokenizer, tokenizer_from_json
from chargen.training.plan import Plan

Case = Callable[..., None]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
WORDS = """train sample info runs repl corpus stats list cells text.txt small.safetensors
    --steps --hidden --stack --time -n --temp --seed --json --toml --config --preset --dropout
    --batch-size --tokenizer --encoding --field -m --name --val-frac --resume --lr --top-k -p
    0 1 -1 nan 1e999 tiny lstm:4 gru:0 ../x é --"""
OPTIONS = st.sampled_from([*WORDS.split(), "\0", "", "9" * 30])
OURS = contextlib.suppress(ChargenError)  # what a user would be told in one line


def subword() -> Tokenizer:
    """Return a small subword tokenizer."""
    return build_tokenizer("bpe", "words and words to learn from, one by one\n" * 9, 300)


BPE = subword()


@given(TEXTS)
def tokenizers(text: str) -> None:
    """Every tokenizer gives back what it was given, whole and one id at a time."""
    for tokenizer in (build_tokenizer("char", text or "a", 0), build_tokenizer("byte", "", 0), BPE):
        ids = tokenizer.encode(text).tolist()
        decoder = tokenizer.decoder()
        assert tokenizer.decode(ids) == text
        assert "".join(map(decoder.push, ids)) + decoder.flush() == text


@given(st.dictionaries(st.sampled_from(["kind", "alphabet", "model"]), JSON | TEXTS))
def vocabularies(data: dict[str, object]) -> None:
    """A vocabulary of anything is a tokenizer or an error."""
    with OURS:
        tokenizer_from_json({"kind": "char", **data})


@given(st.data())
def subword_models(data: st.DataObject) -> None:
    """A sentencepiece model with bytes changed is a tokenizer or an error."""
    content = _changed(data, base64.b64decode(BPE.to_json()["model"]))
    with OURS:
        model = base64.b64encode(content).decode()
        tokenizer_from_json({"kind": "bpe", "model": model}).encode("some words\n")


@given(st.binary(min_size=20), st.sampled_from(["char", "byte"]))
def corpora(data: bytes, tokenizer: str) -> None:
    """Any bytes are a corpus or an error."""
    Path("any.txt").write_bytes(data)
    with OURS:
        tokenize(read_text(ReadConfig(("any.txt",), tokenizer)), 0.1)


@given(
    st.text()
    | st.lists(JSON | st.dictionaries(st.just("text"), JSON)).map(
        lambda rows: "\n".join(map(json.dumps, rows))
    )
)
def records(text: str) -> None:
    """Any lines are records of a field or an error."""
    for name in ("any.jsonl", "any.csv"):
        Path(name).write_text(text, encoding="utf-8", errors="replace")
        for label in (None, "text", "other"):
            with OURS:
                tokenize(read_text(ReadConfig((name,), field="text", label=label)), 0.1)


def small_model() -> bytes:
    """Return the bytes of a model file."""
    import numpy as np

    tokenizer = build_tokenizer("char", "abc", 0)
    config = ModelConfig(tokenizer.vocab_size, parse_stack("lstm:2"), 2)
    draw = np.random.default_rng(1)
    shapes = weight_shapes(config).items()
    weights = {name: draw.random(shape, np.float32) for name, shape in shapes}
    save_model(Path("small.safetensors"), weights, config, tokenizer, {})
    return Path("small.safetensors").read_bytes()


def _changed(data: st.DataObject, whole: bytes) -> bytes:
    """Return bytes with some of them changed, cut or added."""
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    return bytes(content)


@given(st.data())
def damaged_models(data: st.DataObject) -> None:
    """A model file with bytes changed, cut or added opens with the old weights or is refused."""
    Path("damaged.safetensors").write_bytes(_changed(data, small_model()))
    with OURS:
        read_model(Path("damaged.safetensors"))
        load_weights(Path("damaged.safetensors"))


@given(st.dictionaries(st.sampled_from(["model", "tokenizer", "training", "kind"]), JSON))
def hostile_models(header: dict[str, object]) -> None:
    """A model file whose header says anything is refused."""
    with contextlib.suppress(ValueError):  # what JSON cannot hold
        write_tensors(Path("hostile.safetensors"), {}, {"kind": "model", **header})
        with OURS:
            load("hostile.safetensors")


@given(st.dictionaries(st.sampled_from([field.name for field in fields(Plan)]), JSON))
def hostile_plans(changes: dict[str, object]) -> None:
    """A plan of anything is one that can be followed or an error."""
    plan = Plan("float32", ((1, 0.0),), 4, 16, ((0, 40, 0.0, 1),), 8, None, 0.1).to_json() | changes
    with OURS, contextlib.suppress(TypeError, ValueError, KeyError):  # all are damage
        made = Plan.from_json(plan)
        assert made.batch_size * made.bptt <= 4096 * 65536
        made.progress(made.steps)


@given(st.lists(TEXTS | JSON.map(json.dumps)))
def metrics(lines: list[str]) -> None:
    """Any lines are metrics, or are left out."""
    Path("metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for event in read_metrics(Path()):
        assert "event" in event


@given(TEXTS | st.dictionaries(st.text(), JSON).map(json.dumps))
def configs(text: str) -> None:
    """Any text is a settings file or an error."""
    Path("my.toml").write_text(text, encoding="utf-8")
    with OURS:
        read_settings(Path("my.toml"), ["hidden", "batch_size"])
    with contextlib.suppress(tomllib.TOMLDecodeError, TypeError, ChargenError):
        TrainConfig(**tomllib.loads(text))


@given(st.lists(OPTIONS, max_size=6))
def command_lines(arguments: list[str]) -> None:
    """Any command line ends with an exit code; long work is left out."""
    if {"train", "repl"} & set(arguments[:1]):
        arguments = [*arguments, "--help"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            app(arguments, standalone_mode=True)
        except SystemExit as exit:
            assert exit.code in (0, 1, 2, None), arguments


TARGETS: tuple[Case, ...] = (
    *(tokenizers, vocabularies, subword_models, corpora, records),
    *(damaged_models, hostile_models, hostile_plans, metrics, configs, command_lines),
)


def run_targets(count: int, seed: int) -> None:
    """Run all targets, each with its part of the cases, in the working directory."""
    each = -(-count // len(TARGETS))
    Path("text.txt").write_text("some words\n" * 99)
    for target in TARGETS:
        wanted = settings(
            max_examples=each,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        hypothesis_seed(seed)(wanted(target))()
        print(f"{target.__name__:16} {each:7,} cases", flush=True)

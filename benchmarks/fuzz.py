"""Throws made-up input at all that parses: none may end in anything but an error of ours.

    python -m benchmarks.fuzz [--cases 100000]

Cases are shared out evenly over the targets and drawn by hypothesis, which prints the smallest
input that breaks one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargen import load
from chargen.checkpoint import (
    ModelHeader,
    load_weights,
    read_model_header,
    save_model,
    weight_shapes,
    write_tensors,
)
from chargen.cli import app
from chargen.cli.settings import read_settings
from chargen.config import ModelConfig, ReadConfig, TrainConfig, parse_stack
from chargen.corpus import read_text, tokenize
from chargen.errors import ChargenError
from chargen.tokenizers import Tokenizer, build_tokenizer, tokenizer_from_json

Case = Callable[..., None]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
WORDS = """train sample info runs repl corpus stats list cells text.txt small.safetensors
    --steps --hidden --stack --time -n --temp --seed --json --toml --config --preset --dropout
    --lanes --tokenizer --encoding --field -m --name --val-frac --resume --lr --top-k -p
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


@given(st.binary(min_size=20), st.sampled_from(["char", "byte"]))
def corpora(data: bytes, tokenizer: str) -> None:
    """Any bytes are a corpus or an error."""
    Path("any.txt").write_bytes(data)
    with OURS:
        tokenize(read_text(ReadConfig(("any.txt",), tokenizer)), 0.1)


def small_model() -> bytes:
    """Return the bytes of a model file."""
    import numpy as np

    tokenizer = build_tokenizer("char", "abc", 0)
    config = ModelConfig(tokenizer.vocab_size, parse_stack("lstm:2"), 2)
    draw = np.random.default_rng(1)
    shapes = weight_shapes(config).items()
    weights = {name: draw.random(shape, np.float32) for name, shape in shapes}
    save_model(Path("small.safetensors"), weights, ModelHeader(config, tokenizer, {}))
    return Path("small.safetensors").read_bytes()


@given(st.data())
def damaged_models(data: st.DataObject) -> None:
    """A model file with bytes changed, cut or added opens with the old weights or is refused."""
    content = bytearray(small_model())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    Path("damaged.safetensors").write_bytes(content)
    with OURS:
        read_model_header(Path("damaged.safetensors"))
        load_weights(Path("damaged.safetensors"))


@given(st.dictionaries(st.sampled_from(["model", "tokenizer", "training", "kind"]), JSON))
def hostile_models(header: dict[str, object]) -> None:
    """A model file whose header says anything is refused."""
    with contextlib.suppress(ValueError):  # what JSON cannot hold
        write_tensors(Path("hostile.safetensors"), {}, {"kind": "model", **header})
        with OURS:
            load("hostile.safetensors")


@given(TEXTS | st.dictionaries(st.text(), JSON).map(json.dumps))
def configs(text: str) -> None:
    """Any text is a settings file or an error."""
    Path("my.toml").write_text(text, encoding="utf-8")
    with OURS:
        read_settings(Path("my.toml"), ["hidden", "lanes"])
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
    *(tokenizers, vocabularies, corpora, damaged_models, hostile_models, configs, command_lines),
)


def main() -> None:
    """Run all targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    each = -(-parser.parse_args().cases // len(TARGETS))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["CHARGEN_CACHE"] = f"{folder}/cache"
        Path("text.txt").write_text("some words\n" * 99)
        for target in TARGETS:
            wanted = settings(
                max_examples=each,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            wanted(target)()
            print(f"{target.__name__:16} {each:7,} cases", flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()

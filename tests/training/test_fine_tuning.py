"""A model begun from another: characters keep what was learned about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from chargen.model.language_model import LanguageModel
from chargen.model.saved import load_weights, read_model
from chargen.model.spec import ModelConfig, parse_stack
from chargen.tokenizers import build_tokenizer
from chargen.tokenizers.char import CharTokenizer
from chargen.training.fine_tuning import grown, relabelled, transferred
from tests.conftest import Run, write

OLD, NEW = "abc xyz", "aqc éx\n"


def logits_of(text: str, alphabet: str, moved_from: str | None = None) -> np.ndarray:
    """Return the logits after each character of a text, of one model or of what it grew into."""
    old = build_tokenizer("char", moved_from or alphabet, 0)
    model = LanguageModel(ModelConfig(old.vocab_size, parse_stack("lstm:16,gru:8"), 6))
    tokenizer, weights = old, model.weights()
    if moved_from:
        tokenizer = grown(old, alphabet)
        weights = transferred(weights, old, tokenizer)
    larger = LanguageModel(ModelConfig(tokenizer.vocab_size, model.config.layers, 6))
    larger.load(weights)
    read: list[torch.Tensor] = []
    larger.head.register_forward_hook(lambda head, inputs, logits: read.append(inputs[0]))
    ids = torch.from_numpy(tokenizer.encode(text).astype(np.int64))[None]
    with torch.no_grad():
        larger(ids, larger.init_state(1))
    # Row by row: a matrix product may round the same row otherwise when there are more of them.
    products = read[0][0].numpy()[:, None] * weights["head.weight"]  # (T, V, H)
    return np.asarray(products.sum(axis=2) + weights["head.bias"])


def test_old_characters_keep_their_logits_to_the_bit() -> None:
    old = build_tokenizer("char", OLD, 0)
    new = grown(old, NEW)
    before, grown_logits = logits_of("cab zyx", OLD), logits_of("cab zyx", NEW, moved_from=OLD)
    rows = [new.pieces.index(piece) for piece in old.pieces]
    after = np.ascontiguousarray(grown_logits[:, rows])
    assert np.array_equal(before, after)
    probs = [np.exp(logits) for logits in (before, after)]
    assert np.array_equal(*(part / part.sum(axis=1, keepdims=True) for part in probs))


def test_new_characters_start_as_the_mean() -> None:
    old = build_tokenizer("char", OLD, 0)
    new = grown(old, NEW)
    assert {piece.decode() for piece in new.pieces[1:]} == set(OLD) | set(NEW)
    weights = LanguageModel(ModelConfig(old.vocab_size, parse_stack("lstm:4"), 3)).weights()
    moved = transferred(weights, old, new)
    for name in ("embedding.weight", "head.weight", "head.bias"):
        row = moved[name][new.pieces.index("é".encode())]
        np.testing.assert_allclose(row, weights[name].mean(axis=0), rtol=1e-5)
        assert moved[name].dtype == np.float32
    assert moved["layers.0.weight_hh_l0"] is weights["layers.0.weight_hh_l0"]


def test_a_text_that_brings_nothing_new_changes_nothing() -> None:
    old = build_tokenizer("char", OLD, 0)
    assert grown(old, "abc").pieces == old.pieces
    for kind in ("byte", "bpe"):
        tokenizer = build_tokenizer(kind, "some words to learn from, and more\n" * 9, 300)
        assert grown(tokenizer, "é") is tokenizer


def test_training_goes_on_from_a_model(chargen: Run, with_model: Path, prose: str) -> None:
    text = write("text.txt", "Ünheimlich! " + prose[:6000])
    options = ("--threads", "1", "--steps", "12", "--precision", "float32", "--batch-size", "8")
    done = chargen("train", text, "--base", "small", "--name", "on", *options)
    assert done.returncode == 0, done.stderr
    path = with_model.parent.parent / "on/model.safetensors"
    before, after = read_model(with_model), read_model(path)
    assert after.config.layers == before.config.layers
    assert after.config.vocab_size > before.config.vocab_size
    assert "Ü".encode() in after.tokenizer.pieces
    assert len(after.training["corpus"]["base"]["sha256"]) == 64
    first = json.loads((path.parent / "metrics.jsonl").read_text().splitlines()[0])
    assert first["val_loss"] < 3  # 60 steps of learning were not lost
    assert load_weights(path)["head.weight"].shape[0] == after.config.vocab_size
    wrong = chargen("train", text, "--base", "small", "--hidden", "9", "--name", "x")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "--base brings its own model and tokenizer; leave --hidden out" in wrong.stderr


def test_the_end_of_records_begins_as_a_newline() -> None:
    old, new = CharTokenizer("\nab"), CharTokenizer("\n\x1eabc")
    weights = {
        "embedding.weight": np.arange(8, dtype=np.float32).reshape(4, 2),
        "head.weight": np.arange(8, 16, dtype=np.float32).reshape(4, 2),
        "head.bias": np.arange(4, dtype=np.float32),
    }
    moved = transferred(weights, old, new)
    for name, own in moved.items():
        assert np.array_equal(own[2], own[1]), name  # U+001E is after the newline
        assert np.array_equal(own[1], weights[name][1])


def test_labels_keep_their_vectors_by_name() -> None:
    old = ModelConfig(3, embedding=2, labels=("a", "b"))
    weights = {"labels.weight": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}
    moved = relabelled(weights, old, ("b", "c"))
    (known, new) = moved["labels.weight"]
    assert known.tolist() == [3, 4]
    assert 0 < np.abs(new).max() < 2.5
    again = relabelled(weights, old, ("b", "c"))["labels.weight"]
    assert np.array_equal(again, moved["labels.weight"])
    assert relabelled(weights, old, ()) == {}

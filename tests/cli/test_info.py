"""What a model consists of, what memory it takes, and what ``chargen info`` says of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.filesize import decimal

from chargen.cli.info import info
from chargen.config import OPTIMIZERS, PRECISIONS
from chargen.model.saved import read_model, save_model
from chargen.model.spec import (
    CELLS,
    ModelConfig,
    count_parameters,
    parse_stack,
    weight_shapes,
)
from chargen.model.summary import describe, parts, state_memory, training_memory
from chargen.tokenizers.byte import ByteTokenizer
from tests.conftest import Run, write


def save(path: Path, training: dict[str, Any], stack: str = "gru:4") -> Path:
    """Write a model of zeros that says this of its training."""
    tokenizer = ByteTokenizer()
    config = ModelConfig(tokenizer.vocab_size, parse_stack(stack), 2)
    weights = {name: np.zeros(s, np.float32) for name, s in weight_shapes(config).items()}
    save_model(path, weights, config, tokenizer, training)
    return path


@pytest.mark.parametrize("kind", CELLS)
def test_the_parts_are_all_of_the_model(kind: str) -> None:
    config = ModelConfig(11, parse_stack(f"{kind}:5,{kind}:3"), 2)
    embedding, lower, upper, head = parts(config)
    assert [part.name for part in parts(config)] == ["embedding", "layer 1", "layer 2", "head"]
    assert (embedding.parameters, head.parameters) == (11 * 2, 11 * 8 + 11)
    assert (lower.shapes, upper.shapes) == (CELLS[kind].shapes(2, 5), CELLS[kind].shapes(5, 3))
    assert sum(part.parameters for part in parts(config)) == count_parameters(config)


def test_a_model_of_many_layers_keeps_them_apart() -> None:
    config = ModelConfig(3, parse_stack(",".join(f"rnn:{width}" for width in range(1, 13))), 2)
    widths = [part.shapes["weight_hh_l0"] for part in parts(config)[1:-1]]
    assert widths == [(width, width) for width in range(1, 13)]


def test_every_cell_recipe_and_precision_has_its_memory() -> None:
    config = ModelConfig(11, parse_stack("rnn:5"), 2)
    for optimizer in OPTIMIZERS:
        for precision in set(PRECISIONS) - {"auto"}:
            memory = training_memory(
                config, batch_size=1, bptt=1, precision=precision, optimizer=optimizer
            )
            assert memory.total > 0


def test_the_memory_of_training_by_hand() -> None:
    config = ModelConfig(10, parse_stack("lstm:7,mingru:3"), 4)
    weights = 4 * sum(int(np.prod(shape)) for shape in weight_shapes(config).values())
    memory = training_memory(config, batch_size=2, bptt=5, precision="bfloat16", optimizer="adamw")
    kept = (memory.weights, memory.averaged, memory.moments, memory.gradients)
    assert kept == (weights, weights, 2 * weights, 3 * weights)
    numbers = 7 * (4 * 4 + 2 * 16) + 3 * 4 * 6  # of the LSTM and of the minGRU
    assert memory.activations == 2 * 5 * (numbers + 8 * 4 + 12 * 10)
    assert memory.total == 7 * weights + memory.activations
    momentum = training_memory(config, batch_size=2, bptt=5, precision="float32", optimizer="sgd")
    assert momentum.moments == weights
    assert momentum.activations - memory.activations == 2 * 5 * 7 * 2 * 16


def test_an_lstm_has_two_states() -> None:
    config = ModelConfig(10, parse_stack("lstm-norm:7,minlstm:3,gru:2"), 4)
    assert state_memory(config) == 4 * (7 + 7 + 3 + 2)


FOREIGN: list[dict[str, Any]] = [
    {},
    {"corpus": None, "config": [], "plan": "p", "history": {"a": 1}, "seconds": "long"},
    {"corpus": {"sources": "a", "ngram_baseline": {"nats_per_token": "x"}}, "plan": {"bptt": "b"}},
    {"history": [[1, None], [2, "x", None], 7], "step": None, "final_val_loss": float("nan")},
]


@pytest.mark.parametrize("training", FOREIGN)
def test_a_file_that_says_little_is_shown(training: dict[str, Any]) -> None:
    path = save(Path("model.safetensors"), training)
    json.dumps(describe(read_model(path)), allow_nan=False)
    info(str(path))


def test_what_is_not_known_is_a_dash(chargen: Run) -> None:
    save(Path("old.safetensors"), {})
    done = chargen("info", "-m", "old.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("sha256", "recipe", "versions", "bits per character", "history, validation"):
        assert re.search(rf"^{name} +- *$", done.stdout, re.MULTILINE), name
    refused = chargen("info", "-m", "old.safetensors", "--toml")
    assert refused.returncode == 1
    assert refused.stderr == (
        "chargen: the model file does not contain the settings of its training\n"
    )


def test_a_models_words_drive_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    save(Path("m.safetensors"), {"corpus": {"sources": ["\x1b[2J[red]é"]}})
    info("m.safetensors")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "␛[2J[red]é" in shown


def test_info_shows_a_trained_model(chargen: Run, with_model: Path) -> None:
    facts = json.loads(chargen("info", "--json").stdout)
    plain = chargen("info", env={**os.environ, "COLUMNS": "80"}).stdout
    assert all(len(line) <= 80 for line in plain.splitlines())
    assert [part["name"] for part in facts["parts"]] == ["embedding", "n-grams", "layer 1", "head"]
    assert sum(part["parameters"] for part in facts["parts"]) == facts["parameters"]
    assert re.search(r"layer 1, lstm:48 +weight_ih_l0 +192 x 64 +12,288", plain)
    assert facts["memory"]["training"]["weights"] == 4 * facts["parameters"]
    assert facts["memory"]["peak"] > facts["memory"]["training"]["total"]
    weights, total = (facts["memory"][n] for n in ("weights", "training"))
    assert re.search(rf"^inference +{re.escape(decimal(weights))} of weights", plain, re.MULTILINE)
    assert re.search(rf"^training +{re.escape(decimal(total['total']))}, ", plain, re.MULTILINE)
    assert re.search(
        r"^peak memory +\d+\.\d MB in its run, including torch *$", plain, re.MULTILINE
    )
    assert (facts["plan"]["batch_size"], facts["recipe"]["seed"]) == (8, 3)
    assert "batch size 8, bptt 32" in plain
    first, last = facts["history"][0][2], facts["history"][-1][2]
    assert re.search(
        rf"history, validation +█.*▁  first {first:.4f}, best \S+, last {last:.4f}", plain
    )
    difference = facts["final_val_loss"] - facts["ngram_baseline"]["nats_per_token"]
    side = "below" if difference < 0 else "above"
    assert f"the model is {abs(difference):.4f} {side}" in plain
    for name, key, note in (
        ("nats per token", "final_val_loss", "(validation, stateful)"),
        ("  stateless", "final_stateless_loss", "(in windows of 256 tokens)"),
    ):
        assert re.search(rf"^{name} +{facts[key]:.4f} {re.escape(note)} *$", plain, re.MULTILINE), (
            name
        )


def test_metrics_of_another_file_are_not_this_models() -> None:
    write("metrics.jsonl", '{"event": "end", "peak_memory_bytes": 5}\n')
    for name, peak in (("model.safetensors", 5), ("copy.safetensors", None)):
        path = save(Path(name), {})
        assert describe(read_model(path))["memory"]["peak"] == peak

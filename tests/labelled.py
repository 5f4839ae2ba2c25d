"""Small models with labels, made by hand: each label has letters of its own.

Texts of the label a are made of the letters a to e, those of b of v to z, and a text without a
label of all of them; each is over after five letters or so. Those of the last label have no end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chargen.config import ReadConfig
from chargen.model.saved import save_model
from chargen.model.spec import LayerConfig, ModelConfig, weight_shapes
from chargen.storage.checkpoint import Tensors
from chargen.tokenizers.char import CharTokenizer

LETTERS = "abcdevwxyz"
LABELS = ("a", "b", "a, or b=c")
ROWS: dict[str, Any] = {"records": "rows", "field": "text", "label": "author"}
LINES: dict[str, Any] = {"records": "lines", "label": "file"}


def save_labelled(path: Path, labels: tuple[str, ...] = LABELS, **reading: Any) -> Path:
    """Write a model file whose texts have labels, and are records if ``reading`` says so."""
    own = {name: value for name, value in reading.items() if name != "label_counts"}
    end = ReadConfig(("x",), **own).end or "\n"
    tokenizer = CharTokenizer("".join(sorted({*LETTERS, "\n", end})))
    config = ModelConfig(tokenizer.vocab_size, (LayerConfig("rnn", 16),), 8, None, labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = _weights(tokenizer, config, end)
    save_model(path, weights, config, tokenizer, {"corpus": reading})
    return path


def _weights(tokenizer: CharTokenizer, config: ModelConfig, end: str) -> Tensors:
    """Return weights: hidden units 0 and 1 say a and b, 2 says that a text has just begun."""
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(config).items()}
    (end_id,) = tokenizer.encode(end)
    weights["embedding.weight"][end_id, 2] = 1
    for number in range(len(config.labels)):
        weights["labels.weight"][number, number % 3] = 1 if number < 2 else 0.5
    weights["layers.0.weight_ih_l0"][:8] = 3 * np.eye(8)
    head = weights["head.weight"]
    head[tokenizer.encode(LETTERS[:5]), 1] = head[tokenizer.encode(LETTERS[5:]), 0] = -20
    head[end_id, 2] = -20
    head[0] = -20
    weights["head.bias"][:] = -20
    weights["head.bias"][tokenizer.encode(LETTERS)] = 0
    weights["head.bias"][end_id] = 0.5
    return weights

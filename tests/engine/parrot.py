"""A model that goes on with one text, again and again: what it writes is known on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chargen.evaluation.ngram import KneserNey
from chargen.model.saved import Mixture, SavedModel, read_model, save_model
from chargen.model.spec import ModelConfig, parse_stack, weight_shapes
from chargen.tokenizers import build_tokenizer

ORDER = 6  # characters after which it knows where it is


def parrot(text: str) -> SavedModel:
    """Return such a model, saved in the working directory."""
    path, tokenizer = Path("parrot.safetensors"), build_tokenizer("char", text, 0)
    config = ModelConfig(tokenizer.vocab_size, parse_stack("rnn:2"), 2)
    weights = {n: np.zeros(shape, np.float32) for n, shape in weight_shapes(config).items()}
    ids = tokenizer.encode(text * 8).astype(np.int64)
    counts = KneserNey(ids, config.vocab_size, ORDER).counts(ORDER)
    save_model(path, weights, config, tokenizer, {}, counts, Mixture(1, 20, (0,) * 6))
    return read_model(path)

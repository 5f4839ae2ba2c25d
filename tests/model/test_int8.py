"""Weights in int8: how near they come, and files that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from chargen.errors import CheckpointError
from chargen.model.int8 import LEVELS, SCALE, packed, unpacked
from chargen.model.language_model import LanguageModel
from chargen.model.saved import load_weights, read_model, save_model
from chargen.model.spec import ModelConfig, parse_stack
from chargen.storage.checkpoint import read_header, read_tensors, write_tensors
from chargen.tokenizers import build_tokenizer

NUMBERS = st.floats(-8, 8, width=32)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=NUMBERS))
def test_each_number_is_off_by_half_a_level_at_most(weight: np.ndarray) -> None:
    tensors = packed({"w": weight})
    assert tensors["w"].dtype == np.int8
    back = unpacked(tensors)["w"]
    level = np.abs(weight).max(axis=1, keepdims=True) / LEVELS
    # Factors are rounded to float16, and the smallest of those to nothing.
    assert (np.abs(back - weight) <= 0.5 * level + 0.07 * level + 1e-5).all()
    assert back.dtype == np.float32


def test_vectors_stay_as_they_are() -> None:
    bias = np.array([1e-9, 3.3], np.float32)
    assert packed({"b": bias})["b"] is bias


def saved(path: Path) -> Path:
    tokenizer = build_tokenizer("char", "some text", 0)
    config = ModelConfig(tokenizer.vocab_size, parse_stack("lstm:8"), 4)
    save_model(path, LanguageModel(config).weights(), config, tokenizer, {}, int8=True)
    return path


def test_a_model_file_in_int8_is_a_model_like_any_other(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.safetensors")
    weights = read_model(path).weights()
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    assert not any(name.endswith(SCALE) for name in weights)


def test_a_file_whose_factors_are_gone_is_damaged(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.safetensors")
    tensors, header = read_tensors(path, "model")[0], read_header(path, "model")
    del tensors["head.weight" + SCALE]
    write_tensors(path, tensors, {**header, "checksum": None})
    with pytest.raises(CheckpointError, match="lack their factors: 'head.weight.scale'"):
        load_weights(path)

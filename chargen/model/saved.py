"""Model files: one ``.safetensors`` file holds weights, architecture, tokenizer and training."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargen.config import ReadConfig
from chargen.errors import ChargenError, CheckpointError
from chargen.model.spec import ModelConfig, weight_shapes
from chargen.storage.checkpoint import (
    Tensors,
    damaged,
    read_header,
    read_tensors,
    tensor_shapes,
    write_tensors,
)
from chargen.storage.files import file_sha256
from chargen.storage.runs import find_model, model_name
from chargen.tokenizers import Tokenizer, tokenizer_from_json

KIND = "model"
OWN = ("encoding", "newlines", "separator", "field")  # settings with which a corpus was read


@dataclass(frozen=True)
class SavedModel:
    """A model on disk: what it is; its weights and checksum are read when they are asked for.

    Attributes:
        path: the file.
        config: the architecture.
        tokenizer: between text and ids.
        training: how it was trained, as far as its file says.
    """

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    training: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of its run, or else of its file."""
        return model_name(self.path)

    @functools.cached_property
    def sha256(self) -> str:
        """Checksum of the file; it names what the cache keeps of it."""
        return file_sha256(self.path)

    @functools.cached_property
    def reading(self) -> ReadConfig:
        """How its corpus was read, without the sources."""
        corpus = self.section("corpus")
        own = {name: corpus[name] for name in OWN if name in corpus}
        return ReadConfig(tokenizer=self.tokenizer.kind, **own)

    def weights(self) -> Tensors:
        """Read the float32 weights by name, checked bit for bit."""
        return load_weights(self.path)

    def section(self, name: str) -> dict[str, Any]:
        """Return one group of what the file says of its training; empty if it says nothing."""
        found = self.training.get(name)
        return found if isinstance(found, dict) else {}


def open_model(name: str | None = None) -> SavedModel:
    """Open a model by a run's name, its folder or a file; without a name the newest run's.

    Raises:
        CheckpointError: there is no such model, or its file is damaged or foreign.
    """
    return read_model(find_model(name))


def read_model(path: Path) -> SavedModel:
    """Read what a model is, and check that its tensors have the shapes it claims.

    Raises:
        CheckpointError: the file is missing, damaged, foreign, or does not fit itself.
    """
    data = read_header(path, KIND)
    try:
        config = ModelConfig.from_json(data["model"])
        tokenizer = tokenizer_from_json(data["tokenizer"])
        saved = SavedModel(path, config, tokenizer, dict(data["training"]))
        _ = saved.reading  # raises if the file does not say it rightly
    except (ChargenError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, f"is damaged: its header says {error}") from None
    if config.vocab_size != tokenizer.vocab_size or tensor_shapes(path) != weight_shapes(config):
        raise damaged(path, "is damaged: its weights do not fit its description")
    return saved


def save_model(
    path: Path,
    weights: Tensors,
    config: ModelConfig,
    tokenizer: Tokenizer,
    training: dict[str, Any],
) -> None:
    """Write a complete model file.

    Args:
        path: where.
        weights: float32 arrays by name.
        config: the architecture.
        tokenizer: with its whole vocabulary.
        training: how it was trained, plain data.
    """
    header = {
        "kind": KIND,
        "model": config.to_json(),
        "tokenizer": tokenizer.to_json(),
        "training": training,
    }
    write_tensors(path, weights, header)


def load_weights(path: Path) -> Tensors:
    """Read the float32 weights of a model file by name, checked bit for bit."""
    return read_tensors(path, KIND)[0]


def is_whole(path: Path) -> bool:
    """Tell whether a model file is there and opens."""
    try:
        load_weights(path)
    except CheckpointError:
        return False
    return True

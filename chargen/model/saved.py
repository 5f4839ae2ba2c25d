"""Model files: one ``.safetensors`` file holds weights, architecture, tokenizer and training."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chargen.config import ReadConfig, require
from chargen.errors import ChargenError, CheckpointError
from chargen.model.counts import PREFIX, NGramCounts
from chargen.model.int8 import SCALE, packed, unpacked
from chargen.model.label_counts import OF_LABELS
from chargen.model.match import LENGTHS
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
COUNTED = (PREFIX, OF_LABELS)  # how names of n-gram counts begin
OWN = (  # how a corpus was read
    *("encoding", "newlines", "separator", "field", "documents"),
    *("records", "label", "split_seed"),
)
LARGEST = 20.0  # weight of a mixture
TABLE = "ngrams.table.weight"  # larger than all the rest, and always stored in int8


@dataclass(frozen=True)
class Mixture:
    """Weights of a log-linear mixture of a network and n-gram counts (``engine.mixture``).

    Attributes:
        network: of the network's log probabilities.
        counts: of those of the counts.
        labels: of those of the counts of the text's label, where there are labels.
        match: added to the score of the token that the longest match expects, by how long it holds.
    """

    network: float = 0.6
    counts: float = 0.4
    match: tuple[float, ...] = (0.0,) * LENGTHS
    labels: float = 0.0

    def __post_init__(self) -> None:
        require(0 < self.network <= LARGEST, "weight of the network", self.network, "above 0")
        require(0 <= self.counts <= LARGEST, "weight of the counts", self.counts, "0 or more")
        require(0 <= self.labels <= LARGEST, "weight of the labels", self.labels, "0 or more")
        fits = len(self.match) == LENGTHS and all(abs(c) <= LARGEST for c in self.match)
        require(fits, "weights of the match", self.match, f"{LENGTHS} numbers")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Mixture:
        """Read what ``asdict`` returned."""
        return cls(**{**data, "match": tuple(data["match"])})


@dataclass(frozen=True)
class SavedModel:
    """A model on disk: what it is; its weights and checksum are read when they are asked for.

    Attributes:
        path: the file.
        config: the architecture.
        tokenizer: between text and ids.
        training: how it was trained, as far as its file says.
        mixture: how the n-gram counts in the file are mixed in; None if it has none.
    """

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    training: dict[str, Any]
    mixture: Mixture | None = None

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

    def counts(self) -> NGramCounts:
        """Read the n-gram counts.

        Raises:
            CheckpointError: they are damaged.
        """
        tensors = read_tensors(self.path, KIND)[0]
        held = {name: array for name, array in tensors.items() if name.startswith(COUNTED)}
        return NGramCounts.from_tensors(held, self.config.vocab_size, len(self.config.labels))

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
        mixture = data.get("mixture") and Mixture.from_json(data["mixture"])
        saved = SavedModel(path, config, tokenizer, dict(data["training"]), mixture)
        _ = saved.reading  # raises if the file does not say it rightly
    except (ChargenError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, f"is damaged: its header says {error}") from None
    shapes = {name: shape for name, shape in tensor_shapes(path).items() if _is_weight(name)}
    if config.vocab_size != tokenizer.vocab_size or shapes != weight_shapes(config):
        raise damaged(path, "is damaged: its weights do not fit its description")
    return saved


def save_model(
    path: Path,
    weights: Tensors,
    config: ModelConfig,
    tokenizer: Tokenizer,
    training: dict[str, Any],
    counts: NGramCounts | None = None,
    mixture: Mixture | None = None,
    *,
    int8: bool = False,
) -> None:
    """Write a complete model file.

    Args:
        path: where.
        weights: float32 arrays by name.
        config: the architecture.
        tokenizer: with its whole vocabulary.
        training: how it was trained, plain data.
        counts: n-gram counts of the training text, if they are mixed in.
        mixture: how.
        int8: store all matrices in a byte a number (``model.int8``), not only the table of n-grams.
    """
    header = {
        "kind": KIND,
        "model": config.to_json(),
        "tokenizer": tokenizer.to_json(),
        "training": training,
        "mixture": asdict(mixture or Mixture()) if counts else None,
    }
    held = packed(weights, None if int8 else (TABLE,))
    write_tensors(path, {**held, **(counts.to_tensors() if counts else {})}, header)


def load_weights(path: Path) -> Tensors:
    """Read the weights of a model file by name, in float32, checked bit for bit."""
    tensors = read_tensors(path, KIND)[0]
    try:
        own = {name: a for name, a in tensors.items() if not name.startswith(COUNTED)}
        return unpacked(own)
    except (KeyError, ValueError) as error:
        raise damaged(path, f"is damaged: its int8 weights lack their factors: {error}") from None


def _is_weight(name: str) -> bool:
    return not name.startswith(COUNTED) and not name.endswith(SCALE)


def is_whole(path: Path) -> bool:
    """Tell whether a model file is there and opens."""
    try:
        load_weights(path)
    except CheckpointError:
        return False
    return True

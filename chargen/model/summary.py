"""Summary of a model: its parts, the memory it needs, and its training, without torch.

Legend of shapes: B batch size, T steps (bptt), H hidden units, E embedding, V vocabulary.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chargen.model.saved import SavedModel
from chargen.model.spec import ModelConfig, state_widths, weight_shapes
from chargen.storage.checkpoint import METRICS, MODEL, read_metrics

FLOAT = 4  # bytes of a float32
BYTES = {"float32": 4, "bfloat16": 2}  # per number in the precision of matrix products
NGRAMS, DECODER = "n-grams", "decoder"
MOMENTS = {"adamw": 2, "adam": 2, "rmsprop": 1, "sgd": 1}  # numbers per parameter


@dataclass(frozen=True)
class Part:
    """The embedding, those of n-grams or labels, a recurrent layer, or the head.

    Attributes:
        name: ``embedding``, ``n-grams``, ``labels``, ``layer 1`` and so on from the bottom, or
            ``head``.
        kind: the cell and its width, such as ``lstm:512``; None for embedding and head.
        shapes: shapes of its weights by name.
    """

    name: str
    kind: str | None
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def parts(config: ModelConfig) -> tuple[Part, ...]:
    """Return the parts of a model in the order of the forward pass."""
    shapes = weight_shapes(config)

    def below(prefix: str) -> dict[str, tuple[int, ...]]:
        return {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}

    layers = tuple(
        Part(f"layer {number + 1}", layer.name, below(f"layers.{number}."))
        for number, layer in enumerate(config.layers)
    )
    embedding, head = (Part(name, None, below(f"{name}.")) for name in ("embedding", "head"))
    if config.periods[-1] > 1:
        layers = (*layers, Part(DECODER, None, below("decoder.")))
    more = [Part(NGRAMS, None, below("ngrams."))] if config.ngrams else []
    more += [Part("labels", None, below("labels."))] if config.labels else []
    return embedding, *more, *layers, head


# -- memory -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingMemory:
    """Peak memory of a training step in bytes, excluding torch itself.

    Attributes:
        weights: the weights.
        averaged: their moving average (EMA), which is evaluated and saved.
        moments: state of the optimizer.
        gradients: gradients of the weights, with the copies for matrix products.
        activations: activations of one batch and their gradients.
    """

    weights: int
    averaged: int
    moments: int
    gradients: int
    activations: int

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(asdict(self).values())


def training_memory(
    config: ModelConfig, *, batch_size: int, bptt: int, precision: str, optimizer: str
) -> TrainingMemory:
    """Return the peak memory of a training step.

    ::

        4P (2 + m) + 12P + B T (sum over layers of H (4u + p v) + 8E + 12V)

    with P parameters and the moments m of the optimizer (AdamW and Adam 2, RMSprop and SGD 1). u
    and v are the numbers per token and unit in ``CellSpec.memory``, p the bytes of the precision.
    A convolution also has 4KI for its windows, and a layer that steps once in n tokens the nth part
    and 4H for its outputs, which are held.
    N-gram embeddings, whose gradient is sparse, are not in P: there is one copy of them.
    The terms are: 4P for the weights, 4P for their average and 4Pm for the moments; 12P for the
    gradients, a working copy of the weights and one of the gradients; 8E for the embedded tokens
    and their gradient; 12V for the logits, the log-probabilities and the gradient.

    Args:
        config: the architecture.
        batch_size: B.
        bptt: T.
        precision: ``float32`` or ``bfloat16``.
        optimizer: name of the optimizer.
    """
    every = parts(config)
    weights = FLOAT * sum(part.parameters for part in every if part.name != NGRAMS)
    tables = FLOAT * sum(part.parameters for part in every if part.name == NGRAMS)
    token: float = 2 * FLOAT * config.embedding + 3 * FLOAT * config.vocab_size
    for layer, inputs, period in zip(config.layers, config.inputs, config.periods, strict=True):
        full, own = layer.spec.memory
        windows = layer.kernel * inputs * (layer.kernel > 1)  # of a convolution
        numbers = layer.hidden * (FLOAT * full + BYTES[precision] * own) + FLOAT * windows
        token += numbers / period + FLOAT * layer.hidden * (period > 1)  # held outputs
    moments = MOMENTS[optimizer] * weights
    activations = int(batch_size * bptt * token)
    return TrainingMemory(weights + tables, weights, moments, 3 * weights, activations)


def state_memory(config: ModelConfig) -> int:
    """Return the bytes of the recurrent state of one text: all parts of all layers."""
    return FLOAT * sum(sum(widths.values()) for widths in state_widths(config))


# -- all facts ----------------------------------------------------------------------------


def describe(saved: SavedModel) -> dict[str, Any]:
    """Return all facts about a model; facts that are missing in its file are None.

    Args:
        saved: the model; the metrics of its run are read from the same folder.
    """
    training, config, every = saved.training, saved.config, parts(saved.config)
    corpus, recipe, plan = (saved.section(name) for name in ("corpus", "config", "plan"))
    return {
        "file": str(saved.path),
        "bytes": saved.path.stat().st_size,
        "stack": config.to_json()["stack"],
        "embedding": config.embedding,
        "ngram_order": config.ngram_order,
        "mixture": saved.mixture and asdict(saved.mixture),
        "parameters": sum(part.parameters for part in every),
        "tokenizer": saved.tokenizer.kind,
        "vocab_size": config.vocab_size,
        "labels": list(config.labels),
        "records": corpus.get("records"),
        "corpus": corpus.get("sources"),
        "corpus_sha256": corpus.get("sha256"),
        "corpus_characters": corpus.get("characters"),
        "base": base_name(corpus),
        "steps": training.get("step"),
        "seconds": number(training.get("seconds")),
        "seed": recipe.get("seed"),
        "best_val_loss": number(training.get("best_val_loss")),
        "final_val_loss": number(training.get("final_val_loss")),
        "final_network_loss": number(training.get("final_network_loss")),
        "final_stateless_loss": number(training.get("final_stateless_loss")),
        "final_val_bits_per_char": number(training.get("final_val_bits_per_char")),
        "final_test_loss": number(training.get("final_test_loss")),
        "int8_bits_per_char": number(training.get("int8_bits_per_char")),
        "int8_margin": number(training.get("int8_margin")),
        "versions": training.get("versions"),
        "final_train_loss": number(training.get("final_train_loss")),
        "ngram_baseline": ngram_baseline(corpus),
        "train_tokens": corpus.get("train_tokens"),
        "validation_tokens": corpus.get("validation_tokens"),
        "recipe": recipe or None,
        "plan": plan or None,
        "history": history(training),
        "parts": [asdict(part) | {"parameters": part.parameters} for part in every],
        "memory": _memory(saved.path, config, recipe, plan),
    }


def base_name(corpus: dict[str, Any]) -> str | None:
    """Return the name of the model that a run began from, if any.

    Args:
        corpus: the corpus section of a model file.
    """
    base = corpus.get("base")
    name = base.get("name") if isinstance(base, dict) else None
    return name if isinstance(name, str) else None


def ngram_baseline(corpus: dict[str, Any]) -> dict[str, Any] | None:
    """Return the order and the loss of the n-gram baseline, or None if it is missing.

    Args:
        corpus: the corpus section of a model file.
    """
    baseline = corpus.get("ngram_baseline")
    baseline = baseline if isinstance(baseline, dict) else {}
    nats = number(baseline.get("nats_per_token"))
    return None if nats is None else {"order": baseline.get("order"), "nats_per_token": nats}


def number(value: object) -> float | None:
    """Return the value if it is a number that a float can hold, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None


def history(training: dict[str, Any]) -> list[tuple[float | None, ...]]:
    """Return step, training loss and validation loss of each evaluation, in nats per token."""
    found = training.get("history")
    rows = found if isinstance(found, list) else []
    whole = (row for row in rows if isinstance(row, list) and len(row) == 3)
    return [tuple(number(value) for value in row) for row in whole]


def _memory(
    path: Path, config: ModelConfig, recipe: dict[str, Any], plan: dict[str, Any]
) -> dict[str, Any]:
    """Return the memory in bytes; None for training if the file has no plan."""
    weights = FLOAT * sum(part.parameters for part in parts(config))
    return {
        "weights": weights,
        "state": state_memory(config),
        "training": _training_bytes(config, recipe, plan),
        "peak": _peak(path),
    }


def _training_bytes(
    config: ModelConfig, recipe: dict[str, Any], plan: dict[str, Any]
) -> dict[str, int] | None:
    batch_size, bptt = number(plan.get("batch_size")), number(plan.get("bptt"))
    precision, optimizer = str(plan.get("precision")), str(recipe.get("optimizer"))
    if batch_size is None or bptt is None or precision not in BYTES or optimizer not in MOMENTS:
        return None
    needed = training_memory(
        config,
        batch_size=int(batch_size),
        bptt=int(bptt),
        precision=precision,
        optimizer=optimizer,
    )
    return asdict(needed) | {"total": needed.total}


def _peak(path: Path) -> float | None:
    """Return the peak anonymous memory of the run, from the metrics beside its model file."""
    if path.name != MODEL or not (path.parent / METRICS).exists():
        return None
    ends = [line for line in read_metrics(path.parent) if line["event"] == "end"]
    return number(ends[-1].get("peak_memory_bytes")) if ends else None

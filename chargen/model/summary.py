"""What a model consists of, what memory it takes, and what its file says of its training.

Nothing here needs torch: the shapes follow from the architecture, the rest from the saved.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chargen.model.saved import SavedModel
from chargen.model.spec import ModelConfig, weight_shapes
from chargen.storage.checkpoint import METRICS, MODEL, read_metrics

FLOAT = 4  # bytes of a float32
BYTES = {"float32": 4, "bfloat16": 2}  # of a number in the precision of products
MOMENTS = {"adamw": 2, "adam": 2, "rmsprop": 1, "sgd": 1}  # numbers an optimizer keeps a weight


@dataclass(frozen=True)
class Part:
    """The embedding, a recurrent layer, or the head.

    Attributes:
        name: ``embedding``, ``layer 1`` and so on from the bottom, or ``head``.
        kind: the cell and its width, such as ``lstm:512``; None of embedding and head.
        shapes: of its weights, by name.
    """

    name: str
    kind: str | None
    shapes: dict[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """Number of its weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def parts(config: ModelConfig) -> tuple[Part, ...]:
    """Return what a model consists of, in the order in which a token passes through it."""
    shapes = weight_shapes(config)

    def below(prefix: str) -> dict[str, tuple[int, ...]]:
        return {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}

    layers = (
        Part(f"layer {number + 1}", f"{layer.kind}:{layer.hidden}", below(f"layers.{number}."))
        for number, layer in enumerate(config.layers)
    )
    embedding, head = (Part(name, None, below(f"{name}.")) for name in ("embedding", "head"))
    return embedding, *layers, head


# -- memory -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that a step of training takes, on top of what torch itself takes.

    Attributes:
        weights: those that learn.
        averaged: their moving average, which is evaluated and kept.
        moments: what the optimizer remembers.
        gradients: of the weights, with the copies that products work on.
        window: what a step holds of its window of text.
    """

    weights: int
    averaged: int
    moments: int
    gradients: int
    window: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(asdict(self).values())


def training_memory(
    config: ModelConfig, *, lanes: int, window: int, precision: str, optimizer: str
) -> TrainingMemory:
    """Return the bytes that a step of training holds when it holds most.

    ::

        4P (2 + m) + 12P + B T (sum over layers of H (4u + p v) + 8E + 12V)

    P weights, B lanes, T steps of a window, H hidden units, E embedding, V vocabulary; m the
    moments of the optimizer (AdamW and Adam 2, RMSprop and SGD 1), u and v the numbers a token
    and unit of ``CellSpec.memory``, p the bytes of the precision. 4P are the weights, 4P their
    average, 4Pm the moments; 12P the gradients, with a working copy of the weights and one of their
    gradients; 8E the embedded tokens and their gradient; 12V the logits, their logarithms of
    probabilities and the gradient.

    Args:
        config: the architecture.
        lanes: B.
        window: T.
        precision: ``float32`` or ``bfloat16``.
        optimizer: its name in the recipe.
    """
    weights = FLOAT * sum(part.parameters for part in parts(config))
    token = 2 * FLOAT * config.embedding + 3 * FLOAT * config.vocab_size
    for layer in config.layers:
        full, own = layer.spec.memory
        token += layer.hidden * (FLOAT * full + BYTES[precision] * own)
    moments = MOMENTS[optimizer] * weights
    return TrainingMemory(weights, weights, moments, 3 * weights, lanes * window * token)


def state_memory(config: ModelConfig) -> int:
    """Return the bytes of the recurrent state of one text: h of every layer, c of an LSTM's."""
    return FLOAT * sum(len(layer.spec.states) * layer.hidden for layer in config.layers)


def readable(count: float) -> str:
    """Return a number of bytes in a unit that leaves it short, such as 4.9 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.{0 if count >= 100 * size else 1}f} {unit}"
    return f"{count:.0f} bytes"


# -- the whole ----------------------------------------------------------------------------


def describe(saved: SavedModel) -> dict[str, Any]:
    """Return all that is known of a model; what its file does not say is None.

    Args:
        saved: the model; beside its file may stand the run's metrics.
    """
    training, config, every = saved.training, saved.config, parts(saved.config)
    corpus, recipe, plan = (saved.section(name) for name in ("corpus", "config", "plan"))
    return {
        "file": str(saved.path),
        "bytes": saved.path.stat().st_size,
        "stack": config.to_json()["stack"],
        "embedding": config.embedding,
        "parameters": sum(part.parameters for part in every),
        "tokenizer": saved.tokenizer.kind,
        "vocab_size": config.vocab_size,
        "corpus": corpus.get("sources"),
        "corpus_sha256": corpus.get("sha256"),
        "corpus_characters": corpus.get("characters"),
        "steps": training.get("step"),
        "seconds": number(training.get("seconds")),
        "seed": recipe.get("seed"),
        "best_val_loss": number(training.get("best_val_loss")),
        "final_val_loss": number(training.get("final_val_loss")),
        "final_stateless_loss": number(training.get("final_stateless_loss")),
        "final_val_bits_per_char": number(training.get("final_val_bits_per_char")),
        "final_test_loss": number(training.get("final_test_loss")),
        "int8_bits_per_char": number(training.get("int8_bits_per_char")),
        "int8_margin": number(training.get("int8_margin")),
        "versions": training.get("versions"),
        "final_train_loss": number(training.get("final_train_loss")),
        "floor": _floor(corpus),
        "train_tokens": corpus.get("train_tokens"),
        "validation_tokens": corpus.get("validation_tokens"),
        "recipe": recipe or None,
        "plan": plan or None,
        "history": history(training),
        "parts": [asdict(part) | {"parameters": part.parameters} for part in every],
        "memory": _memory(saved.path, config, recipe, plan),
    }


def _floor(corpus: dict[str, Any]) -> dict[str, Any] | None:
    """Return what counting alone reaches and with which order, if that is known."""
    floor = corpus.get("floor")
    floor = floor if isinstance(floor, dict) else {}
    nats = number(floor.get("nats_per_token"))
    return None if nats is None else {"order": floor.get("order"), "nats_per_token": nats}


def number(value: object) -> float | None:
    """Return a value if it is a finite number, and else None."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return value if right and math.isfinite(value) else None  # type: ignore[arg-type,return-value]


def history(training: dict[str, Any]) -> list[tuple[float | None, ...]]:
    """Return step, training loss and validation loss of each evaluation, in nats per token."""
    found = training.get("history")
    rows = found if isinstance(found, list) else []
    whole = (row for row in rows if isinstance(row, list) and len(row) == 3)
    return [tuple(number(value) for value in row) for row in whole]


def _memory(
    path: Path, config: ModelConfig, recipe: dict[str, Any], plan: dict[str, Any]
) -> dict[str, Any]:
    """Return bytes by what takes them; of training None if the file does not say how it was."""
    weights = FLOAT * sum(part.parameters for part in parts(config))
    return {
        "weights": weights,
        "state": state_memory(config),
        "training": _training_bytes(config, recipe, plan),
        "measured": _measured(path),
    }


def _training_bytes(
    config: ModelConfig, recipe: dict[str, Any], plan: dict[str, Any]
) -> dict[str, int] | None:
    lanes, window = number(plan.get("lanes")), number(plan.get("window"))
    precision, optimizer = str(plan.get("precision")), str(recipe.get("optimizer"))
    if lanes is None or window is None or precision not in BYTES or optimizer not in MOMENTS:
        return None
    needed = training_memory(
        config,
        lanes=int(lanes),
        window=int(window),
        precision=precision,
        optimizer=optimizer,
    )
    return asdict(needed) | {"total": needed.total}


def _measured(path: Path) -> float | None:
    """Return the most anonymous memory seen in the run that a model file stands in."""
    if path.name != MODEL or not (path.parent / METRICS).exists():
        return None
    ends = [line for line in read_metrics(path.parent) if line["event"] == "end"]
    return number(ends[-1].get("peak_memory_bytes")) if ends else None

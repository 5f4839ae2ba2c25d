"""Several models as one: their probabilities are mixed at each step.

::

    P(c) = w_1 P_1(c) + ... + w_M P_M(c)

(linear interpolation, Jelinek and Mercer 1980). Each model reads the whole text in its own state,
with its own n-gram counts.

Models of characters may have different alphabets; the mixture has all their characters. A model
gives a character that it does not know an equal part of its P(UNK), as scoring does: P_i(UNK)
divided by the number of characters outside of its alphabet. So the probability that the mixture
gives a text is the same mixture of what each model gives it by itself.

Legend of shapes: B batch size, T steps, V tokens of the mixture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig, require
from chargen.engine import Engine, Logits, State
from chargen.errors import ConfigError
from chargen.sampling.filters import log_probabilities
from chargen.sampling.records import Label
from chargen.sampling.sampler import Sampler, load
from chargen.tokenizers import Tokenizer
from chargen.tokenizers.char import CharTokenizer

if TYPE_CHECKING:
    from chargen.sampling.constraints import Constraint
    from chargen.sampling.sampler import Words

MOST = 8  # models


class MixedSampler(Sampler):
    """Several models as one.

    A text is read as the corpus of the first model was.

    Attributes:
        parts: the models.
        mix: their weights, which sum to 1.
    """

    def __init__(self, parts: Sequence[Sampler], mix: Sequence[float]) -> None:
        """Mix models.

        Raises:
            ConfigError: their tokenizers differ, and are not all of characters.
        """
        self.parts, self.mix = tuple(parts), tuple(mix)
        tokenizers = [part.tokenizer for part in parts]
        tokenizer = joined(tokenizers)
        views = [_View(tokenizer, own, w) for own, w in zip(tokenizers, mix, strict=True)]
        super().__init__(tokenizer, MixedEngine([part.engine for part in parts], views))
        self.reading = self.parts[0].reading
        ends = [part.reading.end for part in parts]
        if len(set(ends)) > 1:
            words = ", ".join("none" if end is None else repr(end) for end in ends)
            raise ConfigError(
                f"models with different ends of records cannot be mixed ({words}); allowed: models "
                "of the same kind of records, or of texts without records"
            )

    def labelled(self, given: Label) -> Self:
        """Refuse a label: each model has labels of its own."""
        raise ConfigError("a label is one of one model; leave the label or the other models out")

    def constraint(
        self, config: SampleConfig, regex: str | None, words: Words | None, no_copy: int | None
    ) -> Constraint | None:
        """Return the constraint of these rules, if there are any; see ``make_constraint``."""
        if no_copy is not None:
            raise ConfigError("no-copy knows the training text of one model; leave it out")
        return super().constraint(config, regex, words, no_copy)

    def responsibilities(self, bits: Sequence[float]) -> tuple[float, ...]:
        """Return the probability that each model wrote a token: w_i P_i / P.

        Args:
            bits: surprisal of the token under each model.
        """
        least = min(own for own, weight in zip(bits, self.mix, strict=True) if weight)
        parts = [w * 2.0 ** min(0.0, least - own) for own, w in zip(bits, self.mix, strict=True)]
        return tuple(part / sum(parts) for part in parts)


class MixedEngine:
    """Runs several engines side by side; its state is theirs, one after the other.

    Args:
        engines: of the models.
        views: of the tokens of the mixture, one for each.
    """

    def __init__(self, engines: Sequence[Engine], views: Sequence[_View]) -> None:
        sizes = [len(engine.init_state(1)) for engine in engines]
        self._parts = list(zip(engines, views, sizes, strict=True))

    def init_state(self, batch: int) -> State:
        """Return the initial state for a batch of B texts."""
        return tuple(array for engine, *_ in self._parts for array in engine.init_state(batch))

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Return log probabilities (B, T, V) and the last state for ids (B, T)."""
        mixed, after = np.array(-np.inf), list[NDArray[np.float32]]()
        for engine, view, size in self._parts:
            logits, last = engine.run(view.ids[ids], state[len(after) : len(after) + size])
            mixed = np.logaddexp(mixed, log_probabilities(logits)[..., view.ids] + view.nats)
            after += last
        return mixed.astype(np.float32), tuple(after)


class _View:
    """The tokens of a mixture as one of its models sees them.

    Attributes:
        ids: the model's id of each token (V,).
        nats: added to the log probability of that id (V,): the log of the model's weight, and of
            the share that each of several unknown characters has in UNK.
    """

    def __init__(self, tokenizer: Tokenizer, own: Tokenizer, weight: float) -> None:
        self.ids = np.arange(tokenizer.vocab_size)
        self.nats = np.full(tokenizer.vocab_size, math.log(weight) if weight else -math.inf)
        if isinstance(tokenizer, CharTokenizer) and isinstance(own, CharTokenizer):
            self.ids[1:] = own.encode(tokenizer.alphabet)
            counts = np.where(self.ids == 0, own.unknown_count, 1)
            self.nats -= np.log(counts)
            self.nats[0] += math.log(tokenizer.unknown_count)  # UNK is all that nobody knows


def joined(tokenizers: Sequence[Tokenizer]) -> Tokenizer:
    """Return a tokenizer for all texts that some models know.

    Raises:
        ConfigError: they differ, and are not all of characters.
    """
    first, *others = (tokenizer.to_json() for tokenizer in tokenizers)
    if all(other == first for other in others):
        return tokenizers[0]
    alphabets = [known.alphabet for known in tokenizers if isinstance(known, CharTokenizer)]
    if len(alphabets) == len(tokenizers):
        return CharTokenizer("".join(sorted(set("".join(alphabets)))))
    kinds = ", ".join(f"{known.kind} of {known.vocab_size}" for known in tokenizers)
    raise ConfigError(
        f"models with different tokenizers cannot be mixed ({kinds}); allowed: models of "
        "characters, or of one and the same tokenizer"
    )


# -- loading ------------------------------------------------------------------------------


def load_mixed(
    models: Sequence[str | Path] | None,
    mix: Sequence[float] | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    int8: bool = False,
) -> Sampler:
    """Load models for inference as one.

    Args:
        models: runs' names, their folders or ``.safetensors`` files; none is the newest run.
        mix: a weight for each of several models, divided by their sum; None gives all the same.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads; None finds the fastest number.
        int8: quantize the weight matrices to int8: a quarter of the size, faster if large.

    Raises:
        ConfigError: the weights do not fit the models, the tokenizers of the models differ, or
            int8 is not available on a GPU.
        CheckpointError: there is no such model, or its file is damaged.
        DeviceError: there is no such device.
    """
    machine: dict[str, Any] = {"device": device, "threads": threads, "int8": int8}
    names = list(models or [])
    require(len(names) <= MOST, "number of models", len(names), f"1 to {MOST}")
    if len(names) > 1:
        weights = _weights(mix, len(names))
        return MixedSampler([load(name, **machine) for name in names], weights)
    if mix is not None:
        raise ConfigError("mix gives the weights of several models; leave it out, or add a model")
    return load(names[0] if names else None, **machine)


def _weights(mix: Sequence[float] | None, count: int) -> list[float]:
    """Return the weights of models, with the sum 1."""
    if mix is None:
        return [1 / count] * count
    allowed = f"{count} weights, 0 or more, not all 0"
    numbers = isinstance(mix, Sequence) and all(isinstance(weight, int | float) for weight in mix)
    require(numbers and len(mix) == count, "mix", mix, allowed)
    require(all(0 <= weight < math.inf for weight in mix) and sum(mix) > 0, "mix", mix, allowed)
    return [weight / sum(mix) for weight in mix]

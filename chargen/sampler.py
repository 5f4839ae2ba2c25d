"""A model that writes: it reads a prompt, and text comes out as a stream.

Several samples are written side by side, a row of the batch each, with a random stream of its own:
in float32 a sample is the same text whatever is written beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.checkpoint import read_model_header
from chargen.config import SampleConfig, fresh_seed
from chargen.engine import Engine, State, open_engine
from chargen.filters import Tokens, probabilities
from chargen.runs import find_model
from chargen.tokenizers import Tokenizer
from chargen.writing import Constraint, Drawing, Sample

PROMPT_CHUNK = 1024  # tokens of a prompt read in one call of the engine
REMEMBERED = 4096  # tokens before a place that penalties can look back on


@dataclass(frozen=True)
class Place:
    """A place in a text: the state after it, the logits (V,) of what comes next.

    Attributes:
        state: recurrent state, one lane.
        logits: of the next token.
        before: the last tokens before it.
    """

    state: State
    logits: NDArray[np.float32]
    before: Tokens = field(default_factory=lambda: np.zeros(0, np.int64))


class Sampler:
    """A model that writes.

    Attributes:
        tokenizer: between text and ids.
        engine: runs the network.
    """

    def __init__(self, tokenizer: Tokenizer, engine: Engine) -> None:
        self.tokenizer = tokenizer
        self.engine = engine

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = SampleConfig.length,
        temperature: float = SampleConfig.temperature,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        seed: int | None = None,
        **more: Any,
    ) -> Iterator[str]:
        """Yield the text that follows a prompt, piece by piece.

        Args:
            prompt: where to go on from; empty starts after a newline.
            length: characters to write.
            temperature: divides the logits; 0 takes the likeliest and ignores the seed.
            top_k: keep the k likeliest tokens; 0 keeps all.
            top_p: keep the likeliest tokens up to this probability; 1 keeps all.
            seed: of the draws; None draws one.
            more: other fields of ``SampleConfig``, by their names.

        Raises:
            ConfigError: a setting is out of its range.
            TokenizerError: the prompt holds a lone surrogate.
        """
        config = SampleConfig(length, temperature, top_k, top_p, seed=seed, **more)
        return self.stream(self.read(prompt), config)

    def read(
        self,
        text: str,
        place: Place | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Place:
        """Return the place after a text, read on from another place or from the start.

        Args:
            text: what to read; empty, at the start, is a newline.
            place: where to read on from.
            progress: told the tokens that were read so far.
        """
        text = text or ("" if place else "\n")
        ids = self.tokenizer.encode(text).astype(np.int64)  # (T,)
        place = place or self._beginning()
        state, logits = place.state, place.logits
        for start in range(0, len(ids), PROMPT_CHUNK):
            out, state = self.engine.run(ids[None, start : start + PROMPT_CHUNK], state)
            logits = out[0, -1]
            progress(start + out.shape[1])
        before = np.concatenate([place.before, ids[-REMEMBERED:]])[-REMEMBERED:]
        return Place(state, logits, before)

    def _beginning(self) -> Place:
        return Place(self.engine.init_state(1), np.zeros(self.tokenizer.vocab_size, np.float32))

    def stream(
        self, place: Place, config: SampleConfig, constraint: Constraint | None = None
    ) -> Iterator[str]:
        """Yield the text that follows a place, piece by piece."""
        for _, piece in self.write(place, config, 1, constraint):
            if piece:
                yield piece

    def write(
        self,
        place: Place,
        config: SampleConfig,
        count: int,
        constraint: Constraint | None = None,
        *,
        logprobs: bool = False,
    ) -> Iterator[tuple[Sample, str]]:
        """Write several samples side by side; yield each with what it goes on with.

        Args:
            place: where all begin.
            config: how they are drawn.
            count: how many.
            constraint: what they must be.
            logprobs: keep the log probability of each token.

        Raises:
            ConfigError: a character that is banned or has a bias has no token of its own.
        """
        seed = fresh_seed() if config.seed is None else config.seed
        samples = [Sample(n, self.tokenizer, config, seed) for n in range(count)]
        drawing = Drawing(self.tokenizer, config, place.before, samples, constraint)
        state = tuple(np.repeat(part, count, axis=1) for part in place.state)
        logits = np.repeat(place.logits[None], count, axis=0)  # (B, V)
        if not config.length:
            for sample in samples:
                sample.finish_reason = "length"
                yield sample, ""
            return
        while samples:
            tokens = drawing.tokens(logits, samples)  # (B,)
            if logprobs:
                _note(samples, logits, tokens)
            finished = False
            for sample, token in zip(samples, tokens.tolist(), strict=True):
                yield sample, sample.take(token) if token >= 0 else sample.end()
                finished = finished or sample.finish_reason is not None
            if finished:
                going = [row for row, sample in enumerate(samples) if not sample.finish_reason]
                samples, tokens = [samples[row] for row in going], tokens[going]
                state = tuple(part[:, going] for part in state)
            if samples:
                out, state = self.engine.run(tokens[:, None], state)
                logits = out[:, 0]


def _note(samples: list[Sample], logits: NDArray[np.float32], tokens: Tokens) -> None:
    chances = probabilities(logits.astype(np.float64))
    for sample, row, token in zip(samples, chances, tokens.tolist(), strict=True):
        if token >= 0:
            sample.logprobs.append(float(np.log(row[token])))


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    int8: bool = False,
) -> Sampler:
    """Open a model for writing.

    Args:
        model: a run's name, its folder or a ``.safetensors`` file; None takes the newest run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads; None for all cores.
        int8: weight matrices as int8: a quarter of the size, and faster when large.

    Raises:
        ConfigError: int8 was asked for on a GPU.
        CheckpointError: there is no such model, or its file is damaged.
    """
    path = find_model(None if model is None else str(model))
    header = read_model_header(path)
    return Sampler(header.tokenizer, open_engine(path, header, device, threads, int8=int8))


def unseen_words(tokenizer: Tokenizer, text: str) -> str | None:
    """Return a sentence that names the characters of a text that a model never saw, if any."""
    unseen = tokenizer.unseen(text)
    if not unseen:
        return None
    names = ", ".join(repr(character) for character in unseen[:10])
    more = f" and {len(unseen) - 10} more" if len(unseen) > 10 else ""
    return f"the model never saw {names}{more}; read as unknown characters"

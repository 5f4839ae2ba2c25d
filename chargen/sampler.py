"""Writing: logits are filtered, a token is drawn, text comes out as a stream."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chargen.checkpoint import read_model_header
from chargen.config import SampleConfig, fresh_seed
from chargen.engine import Engine, State, open_engine
from chargen.runs import find_model
from chargen.tokenizers import Tokenizer

PROMPT_CHUNK = 1024  # tokens of a prompt read in one call of the engine
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """A place in a text: the state after it and the logits (V,) of what comes next."""

    state: State
    logits: NDArray[np.float32]


class Sampler:
    """A model that writes.

    Attributes:
        tokenizer: between text and ids.
        engine: runs the network.
    """

    def __init__(self, tokenizer: Tokenizer, engine: Engine) -> None:
        self.tokenizer = tokenizer
        self.engine = engine
        self._banned = np.array(tokenizer.never_sampled, np.int64)

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = SampleConfig.length,
        temperature: float = SampleConfig.temperature,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Yield the text that follows a prompt, piece by piece.

        Args:
            prompt: where to go on from; empty starts after a newline.
            length: characters to write.
            temperature: divides the logits; 0 takes the likeliest and ignores the seed.
            top_k: keep the k likeliest tokens; 0 keeps all.
            top_p: keep the likeliest tokens up to this probability; 1 keeps all.
            seed: of the draws; None draws one.

        Raises:
            ConfigError: a setting is out of its range.
            TokenizerError: the prompt holds a lone surrogate.
        """
        config = SampleConfig(length, temperature, top_k, top_p, seed=seed)
        return self.stream(self.read(prompt), config)

    def read(self, text: str, place: Place | None = None) -> Place:
        """Return the place after a text, read on from another place or from the start."""
        text = text or ("" if place else "\n")
        ids = self.tokenizer.encode(text).astype(np.int64)[None]  # (1, T)
        state = place.state if place else self.engine.init_state(1)
        logits = place.logits if place else np.zeros(self.tokenizer.vocab_size, np.float32)
        for start in range(0, ids.shape[1], PROMPT_CHUNK):
            out, state = self.engine.run(ids[:, start : start + PROMPT_CHUNK], state)
            logits = out[0, -1]
        return Place(state, logits)

    def stream(self, place: Place, config: SampleConfig) -> Iterator[str]:
        """Yield ``config.length`` characters that follow a place, piece by piece."""
        seed = fresh_seed() if config.seed is None else config.seed
        draws = random.Random(f"chargen {seed}")  # the same numbers on every platform
        decoder, left = self.tokenizer.decoder(), config.length
        state, logits = place.state, place.logits
        while left > 0:
            token = draw(logits, config, self._banned, draws.random())
            if piece := decoder.push(token)[:left]:
                left -= len(piece)
                yield piece
            if left:
                out, state = self.engine.run(np.array([[token]]), state)
                logits = out[0, 0]


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


def draw(
    logits: NDArray[np.float32], config: SampleConfig, banned: NDArray[np.int64], uniform: float
) -> int:
    """Return a token drawn from logits (V,) by one uniform number in [0, 1)."""
    scores = logits.astype(np.float64)
    scores[banned] = -np.inf
    if config.temperature == 0:
        return int(scores.argmax())
    if config.top_k:
        scores = keep_top_k(scores, config.top_k)
    if config.top_p < 1:
        scores = keep_top_p(scores, config.top_p)
    cumulative = np.exp((scores - scores.max()) / config.temperature).cumsum()
    total = cumulative[-1]
    # The first token whose cumulative weight is above the draw; the last possible one where
    # rounding has put the draw at the total.
    token = int(cumulative.searchsorted(uniform * total, side="right"))
    return token if token < len(scores) else int(cumulative.searchsorted(total))


def keep_top_k(scores: Vector, k: int) -> Vector:
    """Keep the k largest of scores (V,), exactly: of equal ones the lower id wins."""
    order = np.argsort(-scores, kind="stable")
    return _without(scores, order[k:])


def keep_top_p(scores: Vector, p: float) -> Vector:
    """Keep the fewest likeliest of scores (V,) whose probabilities sum to at least p."""
    order = np.argsort(-scores, kind="stable")
    weights = np.exp(scores[order] - scores.max())
    before = weights.cumsum() - weights  # the weight of all likelier tokens
    return _without(scores, order[before >= p * weights.sum()])


def _without(scores: Vector, ids: NDArray[np.int64]) -> Vector:
    kept = scores.copy()
    kept[ids] = -np.inf
    return kept

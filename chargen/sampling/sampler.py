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

from chargen.config import SampleConfig, fresh_seed
from chargen.engine import Engine, State, open_engine
from chargen.model.saved import open_model
from chargen.sampling.decoding import Constraint, Decoder, Sample
from chargen.sampling.filters import Tokens, probabilities
from chargen.tokenizers import Tokenizer

PROMPT_CHUNK = 1024  # tokens of a prompt read in one call of the engine
REMEMBERED = 4096  # tokens before a place that penalties can look back on


@dataclass(frozen=True)
class DecodeState:
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
        run: folder of the model's file, if it has one.
    """

    def __init__(self, tokenizer: Tokenizer, engine: Engine, run: Path | None = None) -> None:
        self.tokenizer = tokenizer
        self.engine = engine
        self.run = run

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
        place: DecodeState | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> DecodeState:
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
        return DecodeState(state, logits, before)

    def _beginning(self) -> DecodeState:
        return DecodeState(
            self.engine.init_state(1), np.zeros(self.tokenizer.vocab_size, np.float32)
        )

    def stream(
        self, place: DecodeState, config: SampleConfig, constraint: Constraint | None = None
    ) -> Iterator[str]:
        """Yield the text that follows a place, piece by piece."""
        for ((_, piece),) in self.write(place, config, 1, constraint):
            if piece:
                yield piece

    def write(
        self,
        place: DecodeState,
        config: SampleConfig,
        count: int,
        constraint: Constraint | None = None,
        *,
        logprobs: bool = False,
    ) -> Iterator[list[tuple[Sample, str]]]:
        """Write several samples side by side; yield what comes of them, time after time.

        Each yield is of pairs: a sample and what it goes on with. The first is of all samples,
        with nothing written; those that are finished are in no further one.

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
        drawing = Decoder(self.tokenizer, config, place.before, samples, constraint)
        rows = _Rows(self.engine, place, count)
        yield [(sample, "") for sample in samples]
        while samples := rows.going(samples):
            block = []  # of tokens (B,), a step each, whose texts are put together at once
            for _ in range(drawing.steps_at_once(samples)):
                block.append(drawing.tokens(rows.logits(), samples))
                if logprobs:
                    _note(samples, rows.logits(), block[-1])
                rows.last = block[-1]
            columns = zip(*(tokens.tolist() for tokens in block), strict=True)
            pairs = zip(samples, columns, strict=True)
            yield [(sample, sample.take(tokens)) for sample, tokens in pairs]


class _Rows:
    """The batch in the engine, a row a sample.

    Attributes:
        last: tokens (B,) that were drawn and not read yet; nothing is read in vain.
    """

    def __init__(self, engine: Engine, place: DecodeState, count: int) -> None:
        self._engine = engine
        self._state = tuple(np.repeat(part, count, axis=1) for part in place.state)
        self._logits = np.repeat(place.logits[None], count, axis=0)
        self.last: Tokens | None = None

    def logits(self) -> NDArray[np.float32]:
        """Read the last tokens; return the logits (B, V) of the next ones."""
        if self.last is not None:
            out, self._state = self._engine.run(self.last[:, None], self._state)
            self._logits, self.last = out[:, 0], None
        return self._logits

    def going(self, samples: list[Sample]) -> list[Sample]:
        """Return the samples that are not finished, and drop the rows of the others."""
        rows = [row for row, sample in enumerate(samples) if sample.finish_reason is None]
        if rows and len(rows) < len(samples):
            self._state = tuple(part[:, rows] for part in self._state)
            self.last = None if self.last is None else self.last[rows]
        return [samples[row] for row in rows]


def _note(samples: list[Sample], logits: NDArray[np.float32], tokens: Tokens) -> None:
    probs = probabilities(logits.astype(np.float64))
    for sample, row, token in zip(samples, probs, tokens.tolist(), strict=True):
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
    saved = open_model(None if model is None else str(model))
    return Sampler(
        saved.tokenizer, open_engine(saved, device, threads, int8=int8), saved.path.parent
    )


def unknown_note(tokenizer: Tokenizer, text: str) -> str | None:
    """Return a sentence that names the characters of a text that a model never saw, if any."""
    unseen = tokenizer.unknown_characters(text)
    if not unseen:
        return None
    names = ", ".join(repr(character) for character in unseen[:10])
    more = f" and {len(unseen) - 10} more" if len(unseen) > 10 else ""
    return f"the model never saw {names}{more}; read as unknown characters"

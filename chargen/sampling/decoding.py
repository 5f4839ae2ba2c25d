"""Texts in the making: which token comes next, and what of it can be shown already."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig, require
from chargen.sampling.filters import (
    Passages,
    Scores,
    Tokens,
    draw,
    keep_unsurprising,
    penalised,
    probabilities,
    truncated,
)
from chargen.tokenizers import Tokenizer

NONE = np.zeros(0, np.int64)  # rows
BLOCK = 32  # steps whose text is put together at once


class Constraint(Protocol):
    """Which tokens may come next, so that the whole output is one of a set of texts."""

    def start(self, before: str = "") -> object:
        """Return the state before the first token, after some text."""
        ...

    def allowed(self, state: object, left: int) -> NDArray[np.bool_]:
        """Return which tokens (V,) leave a way to a complete text of ``left`` more characters."""
        ...

    def advance(self, state: object, token: int) -> object:
        """Return the state after a token."""
        ...


class Sample:
    """One of the texts that are being written.

    Attributes:
        number: which one it is.
        text: what was written so far.
        tokens: the same in tokens.
        logprobs: log probability of each token under the model, before any filter, in nats.
        finish_reason: ``length``, ``stop``, or ``complete`` where a constraint leaves nothing more;
            None while it is written.
    """

    __slots__ = (
        *("number", "tokens", "logprobs", "finish_reason", "left", "random", "mu"),
        *("passages", "state", "_push", "_stops", "_held", "_written"),
    )

    def __init__(self, number: int, tokenizer: Tokenizer, config: SampleConfig, seed: int) -> None:
        name = f"chargen {seed} {number}" if number else f"chargen {seed}"
        self.number = number
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.finish_reason = None if config.length else "length"
        self.left = config.length  # characters that may still be written
        self.random = random.Random(name).random  # the same numbers on every platform
        self.mu = 2 * config.mirostat_ent
        self.passages: Passages | None = None
        self.state: object = None  # of the constraint
        self._push = tokenizer.decoder().push
        self._stops, self._held = config.stop, ""
        self._written: list[str] = []

    @property
    def room(self) -> int:
        """Characters that further tokens can bring."""
        return self.left - len(self._held)

    @property
    def text(self) -> str:
        """What was written so far."""
        return "".join(self._written)

    def take(self, tokens: Sequence[int]) -> str:
        """Add tokens and return the text that is certain with them: never half a stop text.

        -1 says that nothing more may come: what was held back is returned.
        """
        if tokens[0] < 0:
            self.finish_reason = "complete"
            self._written.append(self._held)
            return self._held
        self.tokens += tokens
        piece = "".join(map(self._push, tokens))
        if self._stops:
            piece = self._before_stop(self._held + piece)
        if len(piece) + len(self._held) >= self.left:
            piece = self._filled(piece)
        self.left -= len(piece)
        self._written.append(piece)
        return piece

    def _filled(self, piece: str) -> str:
        """Return the end of a text that reaches its length, unless a stop text came before."""
        if self.finish_reason and len(piece) <= self.left:
            return piece
        self.finish_reason = "length"
        return (piece + self._held)[: self.left]

    def _before_stop(self, text: str) -> str:
        """Return the text before the first stop text, holding back what may begin one."""
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self._held, self.finish_reason = "", "stop"
            return text[: min(found)]
        longest = max(map(len, self._stops)) - 1
        begins = range(max(0, len(text) - longest), len(text))
        held = next((b for b in begins if any(s.startswith(text[b:]) for s in self._stops)), None)
        held = len(text) if held is None else held
        self._held = text[held:]
        return text[:held]


class Decoder:
    """The settings at work: from logits to tokens.

    Args:
        tokenizer: what the tokens stand for.
        config: the settings.
        before: the last tokens before the samples begin.
        samples: what is written.
        constraint: what each must be.

    Raises:
        ConfigError: a character that is banned or has a bias has no token of its own.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: SampleConfig,
        before: Tokens,
        samples: list[Sample],
        constraint: Constraint | None,
    ) -> None:
        self._config, self._constraint, self._before = config, constraint, before
        self._bias = bias(tokenizer, config)  # (V,)
        self._longest = max(map(len, tokenizer.pieces))
        penalties = (config.repeat_penalty - 1, config.presence_penalty, config.frequency_penalty)
        self._penalties = any(penalties)
        start = constraint.start(tokenizer.decode(before.tolist())) if constraint else None
        for sample in samples:
            sample.state = start
            if config.dry_multiplier:
                breakers = containing(tokenizer, config.dry_sequence_breakers)
                sample.passages = Passages(before, config.dry_penalty_last_n, breakers)
        self._by_row = self._penalties or constraint or config.dry_multiplier

    def tokens(self, logits: NDArray[np.float32], samples: list[Sample]) -> Tokens:
        """Return the next token (B,) of each sample by its logits (B, V); -1: none may come."""
        scores = logits + self._bias
        if self._by_row:
            scores = np.stack([self._own(*pair) for pair in zip(scores, samples, strict=True)])
        ended = scores.max(axis=-1) == -np.inf if self._constraint else NONE
        scores[ended] = 0.0
        uniforms = np.array([sample.random() for sample in samples])
        drawn = self._mirostat(scores, samples, uniforms) if self._config.mirostat else None
        if drawn is None:
            drawn = draw(truncated(scores, self._config), self._config.temperature, uniforms)
        drawn[ended] = -1
        if self._by_row:
            self._remember(drawn, samples)
        return drawn

    def steps_at_once(self, samples: list[Sample]) -> int:
        """Return in how many steps no sample can end or needs its text, 1 at least.

        Where they are several, putting text together step by step takes as long as drawing.
        """
        if len(samples) <= 1 or self._config.stop or self._by_row:
            return 1
        return max(1, min(BLOCK, min(sample.left for sample in samples) // self._longest))

    def _own(self, scores: Scores, sample: Sample) -> Scores:
        """Apply what depends on the text so far to the scores (V,) of one sample."""
        config = self._config
        if self._penalties:
            recent = np.append(self._before, np.array(sample.tokens, np.int64))
            scores = penalised(scores, recent[len(recent) - config.repeat_last_n :], config)
        if sample.passages:
            scores = sample.passages.penalised(scores, config)
        if self._constraint:
            allowed = self._constraint.allowed(sample.state, sample.room)
            scores = np.where(allowed, scores, -np.inf)
        return scores

    def _remember(self, tokens: Tokens, samples: list[Sample]) -> None:
        for sample, token in zip(samples, tokens.tolist(), strict=True):
            if sample.passages and token >= 0:
                sample.passages.add(token)
            if self._constraint and token >= 0:
                sample.state = self._constraint.advance(sample.state, token)

    def _mirostat(
        self, scores: Scores, samples: list[Sample], uniforms: NDArray[np.float64]
    ) -> Tokens | None:
        """Draw so that the surprise stays near its aim: mirostat 2 (Basu et al. 2021)."""
        config = self._config
        if config.temperature == 0:
            return None
        most = np.array([sample.mu for sample in samples])
        kept = keep_unsurprising(scores / config.temperature, most)
        drawn = draw(kept, 1.0, uniforms)
        probs = np.take_along_axis(probabilities(kept), drawn[:, None], axis=-1)[:, 0]
        for sample, chance in zip(samples, probs.tolist(), strict=True):
            sample.mu -= config.mirostat_lr * (-np.log2(chance) - config.mirostat_ent)
        return drawn


def bias(tokenizer: Tokenizer, config: SampleConfig) -> Scores:
    """Return what is added to every token's score (V,): -inf for those never written."""
    added = np.zeros(tokenizer.vocab_size)
    for text, value in config.logit_bias:
        ids = tokenizer.encode(text)
        own = len(ids) == 1 and int(ids[0]) != tokenizer.unknown_id
        require(own, "logit-bias", text, "characters that have a token of their own")
        added[ids[0]] += value
    if tokenizer.kind != "char":  # other tokens could spell it in bytes
        require(config.ban.isascii(), "ban", config.ban, f"ASCII with {tokenizer.kind} tokens")
    added[containing(tokenizer, tuple(config.ban))] = -np.inf
    added[list(tokenizer.never_sampled)] = -np.inf
    require(added.max() > -np.inf, "ban", config.ban, "to leave something to write")
    return added


def containing(tokenizer: Tokenizer, texts: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which tokens (V,) contain one of some texts."""
    parts = [text.encode() for text in texts]
    return np.array([any(part in piece for part in parts) for piece in tokenizer.pieces])

"""Decoding of a batch of texts: selection of the next tokens, stop texts, finish reasons."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig, fresh_seed, require
from chargen.sampling.endings import UNITS, Unit, find_stop
from chargen.sampling.filters import (
    DryPenalty,
    Scores,
    Tokens,
    apply_penalties,
    keep_low_surprisal,
    probabilities,
    sample_tokens,
    truncate,
)
from chargen.tokenizers import Tokenizer

if TYPE_CHECKING:
    from chargen.sampling.constraints import Constraint

NONE = np.zeros(0, np.int64)  # rows
BLOCK = 32  # steps decoded to text in one go
COMPLETE, DEAD_END = -1, -2  # in place of a token, where a constraint allows none
ENDS = {COMPLETE: "complete", DEAD_END: "dead_end"}


class Sample:
    """One text of a batch while it is generated.

    Attributes:
        number: its index in the batch.
        seed: random seed of the batch.
        text: the text so far.
        tokens: the tokens so far.
        logprobs: log probability of each token under the model, before any filter, in nats.
        finish_reason: ``length``; ``stop``, also of a whole unit; ``complete``, if the constraint
            allows no more text; ``dead_end``, if no token is allowed but the constraint is not
            met; None while the text is generated.
        remaining: characters to generate.
        random: source of random numbers in [0, 1), the same on every platform.
        before: the last tokens of the prompt.
        mu: state of mirostat, in bits.
        dry: state of the DRY penalty.
        state: state of the constraint.
        unit: where a sentence, a line or a paragraph ends, if the text ends there.
    """

    __slots__ = (
        *("number", "seed", "tokens", "logprobs", "finish_reason", "remaining", "random", "mu"),
        *("before", "dry", "state", "unit", "_decode", "_stops", "_held", "_pieces"),
    )

    def __init__(self, number: int, tokenizer: Tokenizer, config: SampleConfig, seed: int) -> None:
        name = f"chargen {seed} {number}" if number else f"chargen {seed}"
        self.number, self.seed = number, seed
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.finish_reason = None if config.length else "length"
        self.remaining = config.length
        self.random = random.Random(name).random
        self.mu = 2 * config.mirostat_ent
        self.before = NONE
        self.dry: DryPenalty | None = None
        self.state: Any = None
        self.unit = UNITS[config.until]("")
        self._decode = tokenizer.decoder().push
        self._stops, self._held = config.stop, ""  # held back: it may begin a stop text
        self._pieces: list[str] = []

    @property
    def room(self) -> int:
        """Number of characters that further tokens may add."""
        return self.remaining - len(self._held) - len(self.unit.held)

    @property
    def is_plain(self) -> bool:
        """Whether only its length ends the text, as far as its own parameters go."""
        return not self._stops and type(self.unit) is Unit

    @property
    def text(self) -> str:
        """Text so far."""
        return "".join(self._pieces)

    def append(self, tokens: Sequence[int]) -> str:
        """Append tokens and return the new text; text that may begin a stop text is held back.

        ``COMPLETE`` or ``DEAD_END`` in place of a token ends the text.
        """
        if tokens[0] < 0:
            self.finish_reason = ENDS[tokens[0]]
            self._pieces.append(self._held)
            return self._held
        self.tokens += tokens
        piece = self.unit.push("".join(map(self._decode, tokens)))
        if self._stops:
            piece = self._before_stop(self._held + piece)
        if self.unit.ended and not self.finish_reason:
            piece, self._held, self.finish_reason = piece + self._held, "", "stop"
        if len(piece) >= self.room:
            piece = self._cut_to_length(piece)
        self.remaining -= len(piece)
        self._pieces.append(piece)
        return piece

    def end(self) -> str:
        """End the text before it has its length; return what was held back."""
        self.finish_reason = "length"
        self._pieces.append(self._held)
        return self._held

    def _cut_to_length(self, piece: str) -> str:
        """Return the end of a text that reaches its length, unless a stop text comes before."""
        if self.finish_reason and len(piece) <= self.remaining:
            return piece
        self.finish_reason = "length"
        return (piece + self._held)[: self.remaining]

    def _before_stop(self, text: str) -> str:
        """Return the text before the first stop text; hold back what may begin one."""
        if (end := find_stop(text, self._stops)) is not None:
            self._held, self.finish_reason = "", "stop"
            return text[:end]
        longest = max(map(len, self._stops)) - 1
        begins = range(max(0, len(text) - longest), len(text))
        held = next((b for b in begins if any(s.startswith(text[b:]) for s in self._stops)), None)
        held = len(text) if held is None else held
        self._held = text[held:]
        return text[:held]


class Decoder:
    """Selection of the next tokens of texts with the same parameters, from their logits.

    Texts may come and go between any two steps.

    Attributes:
        by_row: whether penalties or a constraint act on each text by itself.

    Args:
        tokenizer: of the model.
        config: sampling parameters.
        constraint: the rule that each text keeps.

    Raises:
        ConfigError: a banned or biased character has no token of its own.
    """

    def __init__(
        self, tokenizer: Tokenizer, config: SampleConfig, constraint: Constraint | None = None
    ) -> None:
        self._tokenizer, self._config, self._constraint = tokenizer, config, constraint
        self._bias = logit_bias(tokenizer, config)  # (V,)
        self._longest = max(map(len, tokenizer.pieces))
        penalties = (config.repeat_penalty - 1, config.presence_penalty, config.frequency_penalty)
        self._penalties = any(penalties)
        self._dry = bool(config.dry_multiplier and config.dry_penalty_last_n)
        self.by_row = self._penalties or constraint is not None or self._dry

    def begin(self, config: SampleConfig, before: Tokens, count: int) -> list[Sample]:
        """Return new texts after a prompt.

        Args:
            config: parameters of the texts, those of the decoder but for length, stop, until and
                seed.
            before: the last tokens of the prompt.
            count: number of texts.

        Raises:
            ConfigError: no text within the length keeps the constraint.
        """
        if self._constraint:
            self._constraint.require(config.length)
        seed = fresh_seed() if config.seed is None else config.seed
        samples = [Sample(n, self._tokenizer, config, seed) for n in range(count)]
        text = self._tokenizer.decode(before.tolist())
        start = self._constraint.start(text) if self._constraint else None
        dry = None
        if self._dry:
            breakers = containing(self._tokenizer, config.dry_sequence_breakers)
            dry = DryPenalty(before, config.dry_penalty_last_n, breakers)
        for sample in samples:
            sample.before, sample.state, sample.dry = before, start, copy(dry)
            sample.unit = UNITS[config.until](text)
        return samples

    def next_tokens(self, logits: NDArray[np.float32], samples: list[Sample]) -> Tokens:
        """Return the next token (B,) of each text from its logits (B, V).

        Where a constraint allows no token, it is ``COMPLETE`` or ``DEAD_END``.
        """
        scores = logits + self._bias
        if self.by_row:
            scores = np.stack([self._adjust(*pair) for pair in zip(scores, samples, strict=True)])
        ended = np.flatnonzero(scores.max(axis=-1) == -np.inf) if self._constraint else NONE
        scores[ended] = 0.0
        uniforms = np.array([sample.random() for sample in samples])
        tokens = self._select(scores, samples, uniforms)
        for row in ended.tolist():
            tokens[row] = self._end(samples[row])
        if self.by_row:
            self._update(tokens, samples)
        return tokens

    def steps_at_once(self, samples: list[Sample]) -> int:
        """Return the number of steps before any text can end or its text is needed, at least 1.

        With several texts, decoding them to text at every step takes as long as sampling.
        """
        if self.by_row or not all(sample.is_plain for sample in samples):
            return 1
        return max(1, min(BLOCK, min(sample.remaining for sample in samples) // self._longest))

    def _adjust(self, scores: Scores, sample: Sample) -> Scores:
        """Apply penalties and the constraint of one text to its scores (V,)."""
        config = self._config
        if self._penalties:
            recent = np.append(sample.before, np.array(sample.tokens, np.int64))
            first = max(0, len(recent) - config.repeat_last_n)
            scores = apply_penalties(scores, recent[first:], config)
        if sample.dry:
            scores = sample.dry.apply(scores, config)
        if self._constraint:
            allowed = self._constraint.allowed(sample.state, sample.room)
            scores = np.where(allowed, scores, -np.inf)
        return scores

    def _select(
        self, scores: Scores, samples: list[Sample], uniforms: NDArray[np.float64]
    ) -> Tokens:
        """Truncate and sample: one token per row (B,)."""
        config = self._config
        if config.mirostat and config.temperature:
            return self._mirostat(scores, samples, uniforms)
        return sample_tokens(truncate(scores, config), config.temperature, uniforms)

    def _mirostat(
        self, scores: Scores, samples: list[Sample], uniforms: NDArray[np.float64]
    ) -> Tokens:
        """Sample with a surprisal near the target: mirostat 2 (Basu et al. 2021)."""
        config = self._config
        limits = np.array([sample.mu for sample in samples])
        kept = keep_low_surprisal(scores / config.temperature, limits)
        tokens = sample_tokens(kept, 1.0, uniforms)
        probs = np.take_along_axis(probabilities(kept), tokens[:, None], axis=-1)[:, 0]
        for sample, prob in zip(samples, probs.tolist(), strict=True):
            sample.mu -= config.mirostat_lr * (-np.log2(prob) - config.mirostat_ent)
        return tokens

    def _end(self, sample: Sample) -> int:
        """Return how a text ends for which no token is allowed."""
        assert self._constraint is not None
        return COMPLETE if self._constraint.is_complete(sample.state) else DEAD_END

    def _update(self, tokens: Tokens, samples: list[Sample]) -> None:
        """Advance the state of the DRY penalty and of the constraint."""
        for sample, token in zip(samples, tokens.tolist(), strict=True):
            if sample.dry and token >= 0:
                sample.dry.append(token)
            if self._constraint and token >= 0:
                sample.state = self._constraint.advance(sample.state, token)


def logit_bias(tokenizer: Tokenizer, config: SampleConfig) -> Scores:
    """Return the bias of every token (V,): -inf for banned ones and for unknown characters.

    Raises:
        ConfigError: a banned or biased character has no token of its own.
    """
    bias = np.zeros(tokenizer.vocab_size)
    for text, value in config.logit_bias:
        ids = tokenizer.encode(text)
        single = len(ids) == 1 and int(ids[0]) != tokenizer.unknown_id
        require(single, "logit-bias", text, "characters that have a token of their own")
        bias[ids[0]] += value
    if tokenizer.kind != "char":  # other tokens could spell it in bytes
        require(config.ban.isascii(), "ban", config.ban, f"ASCII with {tokenizer.kind} tokens")
    bias[containing(tokenizer, tuple(config.ban))] = -np.inf
    bias[list(tokenizer.never_sampled)] = -np.inf
    require(bias.max() > -np.inf, "ban", config.ban, "a set that leaves some characters")
    return bias


def containing(tokenizer: Tokenizer, texts: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which tokens (V,) contain one of some texts."""
    parts = [text.encode() for text in texts]
    return np.array([any(part in piece for part in parts) for piece in tokenizer.pieces])

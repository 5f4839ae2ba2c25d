"""Surprisal of the tokens and words of a text, and probabilities of the next token.

Surprisal is -log2 of the probability that the model gives a token after all text before it.
Legend of shapes: T tokens read at once, V vocabulary.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chargen.config import require_count
from chargen.data.decoding import as_read
from chargen.errors import ConfigError
from chargen.evaluation.nll import token_nll
from chargen.sampling.filters import Scores, log_probabilities
from chargen.sampling.mixing import MixedSampler
from chargen.sampling.sampler import PROMPT_CHUNK, DecodeState, Sampler
from chargen.tokenizers import Tokenizer
from chargen.tokenizers.byte import bytes_of

MAX_LOGITS = 1 << 20  # in memory at once
PART = 1 << 20  # characters encoded at once


@dataclass(frozen=True)
class Guess:
    r"""A token that may come next.

    Attributes:
        token: its id.
        text: its text; bytes that are a part of a character as ``\xc3``.
        probability: of being the next token.
    """

    token: int
    text: str
    probability: float


@dataclass(frozen=True)
class ScoredToken:
    """A token and its surprisal; several tokens, where only together they are whole characters.

    Attributes:
        text: one character or several.
        bits: surprisal in bits.
        guesses: the most likely tokens at this point, if asked for.
        responsibilities: of a mixture of models, the probability that each of them wrote it; see
            ``with_responsibilities``.
    """

    text: str
    bits: float
    guesses: tuple[Guess, ...] = ()
    responsibilities: tuple[float, ...] = ()

    @property
    def nats(self) -> float:
        """Surprisal in nats: the negative log-likelihood."""
        return self.bits * math.log(2)

    @property
    def bits_per_char(self) -> float:
        """Mean surprisal of its characters, in bits."""
        return self.bits / len(self.text)


@dataclass(frozen=True)
class ScoredText:
    """A text and the surprisal of its tokens.

    Attributes:
        tokens: of the text, in order; their texts joined are the text.
    """

    tokens: tuple[ScoredToken, ...]

    @property
    def text(self) -> str:
        """The text."""
        return "".join(token.text for token in self.tokens)

    @functools.cached_property
    def characters(self) -> int:
        """Number of characters."""
        return sum(len(token.text) for token in self.tokens)

    @functools.cached_property
    def bits(self) -> float:
        """Surprisal of the text in bits."""
        return sum(token.bits for token in self.tokens)

    @property
    def nats(self) -> float:
        """Surprisal of the text in nats: the negative log-likelihood."""
        return self.bits * math.log(2)

    @property
    def bits_per_char(self) -> float:
        """Mean surprisal of a character, in bits."""
        return self.bits / self.characters

    @property
    def nats_per_char(self) -> float:
        """Mean surprisal of a character, in nats."""
        return self.nats / self.characters


@dataclass(frozen=True)
class NextToken:
    """Distribution of the next token.

    Attributes:
        most_likely: the most likely tokens, the best first.
        others: number of the other tokens.
        others_probability: of any of these.
        unknown_probability: of an unknown character; None if the tokenizer knows all.
        entropy: of the distribution, in bits.
    """

    most_likely: tuple[Guess, ...]
    others: int
    others_probability: float
    unknown_probability: float | None
    entropy: float


# -- scoring ------------------------------------------------------------------------------


def score_text(
    sampler: Sampler, text: str, before: DecodeState | None = None, guesses: int = 0
) -> ScoredText:
    """Score a text, read as the corpus of the model was; see ``as_read`` and ``score_tokens``.

    Raises:
        ConfigError: the text is empty.
        TokenizerError: the text holds a lone surrogate.
    """
    text = as_read(text, sampler.reading)
    if not text:
        raise ConfigError("the text is empty; give at least one character")
    tokens = score_tokens(sampler, text, before, guesses)
    return ScoredText(tuple(tokens if before else with_responsibilities(sampler, text, tokens)))


def with_responsibilities(
    sampler: Sampler, text: str, tokens: Iterable[ScoredToken]
) -> Iterator[ScoredToken]:
    """Add to the tokens of a whole text who wrote them, if the sampler is a mixture of models.

    That is the posterior probability of each model, w_i P_i / P: its weight times the probability
    that it gave the token, divided by that of the mixture. Each model reads the text once more,
    by itself.
    """
    if not isinstance(sampler, MixedSampler):
        yield from tokens
        return
    parts = [score_tokens(part, text) for part in sampler.parts]
    for token, *own in zip(tokens, *parts, strict=True):
        yield replace(
            token, responsibilities=sampler.responsibilities([scored.bits for scored in own])
        )


def score_tokens(
    sampler: Sampler,
    text: str,
    before: DecodeState | None = None,
    guesses: int = 0,
    block: int = PROMPT_CHUNK,
) -> Iterator[ScoredToken]:
    """Yield the tokens of a text with their surprisal; their texts joined are the text.

    Tokens that are a part of a character are joined to whole characters. Memory does not grow
    with the text. The surprisal of an unknown character is -log2 of the probability of an unknown
    one, and log2 of the number of characters that it may be.

    Args:
        sampler: the model.
        text: what to score, as it is.
        before: state before the text; None is the start of a text, after a newline or, of records,
            after the end of one.
        guesses: number of the most likely tokens that come with each token.
        block: tokens read in one call of the engine at most.

    Raises:
        TokenizerError: the text holds a lone surrogate.
    """
    tokenizer, before = sampler.tokenizer, before or sampler.read("")
    start, size, bits, first = 0, 0, 0.0, None  # bytes and bits of the tokens since a character
    for token, own_bits, likely in _tokens(sampler, text, before, guesses, block):
        first = likely if first is None else first
        bits += own_bits
        unknown = token == tokenizer.unknown_id
        size += _size(text[start]) if unknown else len(tokenizer.pieces[token])
        end, covered = start, 0
        while covered < size:
            covered += _size(text[end])
            end += 1
        if covered == size:
            yield ScoredToken(text[start:end], bits, first)
            start, size, bits, first = end, 0, 0.0, None


def _size(character: str) -> int:
    """Return the bytes of a character."""
    return len(bytes_of(character))


def _tokens(
    sampler: Sampler, text: str, before: DecodeState, guesses: int, block: int
) -> Iterator[tuple[int, float, tuple[Guess, ...]]]:
    """Yield the ids of a text, their surprisal in bits, and the most likely tokens there."""
    for number, record in enumerate(_records(text, sampler.reading.end)):
        before = sampler.read("") if number else before
        yield from _of_record(sampler, record, before, guesses, block)


def _records(text: str, end: str | None) -> Iterator[str]:
    """Cut a text after each end of a record: the next one begins in a state of its own."""
    start = 0
    while start < len(text):
        stop = (text.find(end, start) + 1 if end else 0) or len(text)
        yield text[start:stop]
        start = stop


def _of_record(
    sampler: Sampler, text: str, before: DecodeState, guesses: int, block: int
) -> Iterator[tuple[int, float, tuple[Guess, ...]]]:
    tokenizer, state, next_one = sampler.tokenizer, before.state, before.logits[None]  # (1, V)
    for ids in _blocks(tokenizer, text, block):
        out, state = sampler.engine.run(ids[None], state)  # (1, T, V)
        logits, next_one = np.concatenate([next_one, out[0, :-1]]), out[0, -1:]  # (T, V)
        nll = token_nll(logits, ids)[0] + tokenizer.unknown_nll(ids)
        likely = (
            best_guesses(tokenizer, log_probabilities(logits), guesses)
            if guesses
            else [()] * len(ids)
        )
        yield from zip(ids.tolist(), (nll / math.log(2)).tolist(), likely, strict=True)


def _blocks(tokenizer: Tokenizer, text: str, block: int) -> Iterator[NDArray[np.int64]]:
    """Yield the ids of a text, at most a block at once, and so many that their logits fit."""
    size = max(1, min(block, MAX_LOGITS // tokenizer.vocab_size))
    for part in _parts(text):
        ids = tokenizer.encode(part).astype(np.int64)
        for start in range(0, len(ids), size):
            yield ids[start : start + size]


def _parts(text: str) -> Iterator[str]:
    """Cut a text after newlines, which no token crosses, unless a line is very long."""
    start = 0
    while start < len(text):
        end = text.rfind("\n", start, start + PART) + 1 or start + PART
        yield text[start:end]
        start = end


# -- the next token -----------------------------------------------------------------------


def next_tokens(
    sampler: Sampler, prompt: str | DecodeState = "", top: int = 10
) -> tuple[Guess, ...]:
    """Return the most likely next tokens, the best first.

    Args:
        sampler: the model.
        prompt: text, or the state after one; an empty text is a newline.
        top: number of tokens.

    Raises:
        ConfigError: ``top`` is not 1 or more.
        TokenizerError: the prompt holds a lone surrogate.
    """
    return next_distribution(sampler, prompt, top).most_likely


def next_distribution(sampler: Sampler, prompt: str | DecodeState = "", top: int = 10) -> NextToken:
    """Return the distribution of the next token; the arguments are those of ``next_tokens``."""
    require_count("top", top)
    tokenizer, state = sampler.tokenizer, sampler.state_after(prompt)
    logprobs = log_probabilities(state.logits[None])  # (1, V)
    (likely,) = best_guesses(tokenizer, logprobs, top)
    probs = np.exp(logprobs[0])
    unknown = None if tokenizer.unknown_id is None else float(probs[tokenizer.unknown_id])
    rest = 1 - sum(guess.probability for guess in likely) - (unknown or 0)
    return NextToken(
        likely,
        tokenizer.vocab_size - len(tokenizer.never_sampled) - len(likely),
        max(0.0, rest),
        unknown,
        float(-(probs * logprobs[0]).sum() / math.log(2)),
    )


def next_facts(tokenizer: Tokenizer, found: NextToken) -> dict[str, Any]:
    """Return a distribution as plain data, with the bytes of each token and its surprisal."""
    rows = [
        {
            "text": guess.text,
            "token": guess.token,
            "bytes": list(tokenizer.pieces[guess.token]),
            "probability": guess.probability,
            "bits": bits_of(guess.probability),
        }
        for guess in found.most_likely
    ]
    return {
        "next": rows,
        "others": {"count": found.others, "probability": found.others_probability},
        "unknown_probability": found.unknown_probability,
        "entropy": found.entropy,
    }


def bits_of(probability: float) -> float:
    """Return the surprisal of a probability in bits, finite also of one that is 0."""
    return -math.log2(max(probability, 5e-324))


def best_guesses(tokenizer: Tokenizer, logprobs: Scores, count: int) -> list[tuple[Guess, ...]]:
    """Return the most likely tokens of each row (T, V), the best first.

    Tokens that are never sampled are left out; of equal ones the lower id comes first.
    """
    allowed = logprobs.copy()
    allowed[:, list(tokenizer.never_sampled)] = -np.inf
    count = min(count, tokenizer.vocab_size - len(tokenizer.never_sampled))
    some = np.sort(np.argpartition(-allowed, count - 1, axis=-1)[:, :count])
    values = np.take_along_axis(allowed, some, axis=-1)
    order = np.argsort(-values, axis=-1, kind="stable")
    ids = np.take_along_axis(some, order, axis=-1).tolist()  # (T, count)
    probs = np.exp(np.take_along_axis(values, order, axis=-1)).tolist()
    return [
        tuple(Guess(id, _name(tokenizer, id), prob) for id, prob in zip(*row, strict=True))
        for row in zip(ids, probs, strict=True)
    ]


def _name(tokenizer: Tokenizer, id: int) -> str:
    return tokenizer.pieces[id].decode("utf-8", "backslashreplace")


# -- words --------------------------------------------------------------------------------


def by_word(tokens: list[ScoredToken]) -> list[ScoredToken]:
    """Join tokens to words, each with the space before it."""
    text = "".join(token.text for token in tokens)
    bits = [token.bits_per_char for token in tokens for _ in token.text]
    return [
        ScoredToken(word[0], sum(bits[word.start() : word.end()]))
        for word in re.finditer(r"\s*\S+|\s+$", text)
    ]

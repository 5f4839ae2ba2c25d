"""How much each piece of a text score_tokens a model that has read all before it.

Legend of shapes: T tokens read at once, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.evaluation.nll import token_nll
from chargen.sampling.filters import Scores, log_probabilities
from chargen.sampling.sampler import PROMPT_CHUNK, DecodeState, Sampler
from chargen.tokenizers import Tokenizer

HELD = 1 << 20  # logits held at once
PART = 1 << 20  # characters encoded at once

# From so many bits a character on, its background.
HEAT = (("#ffd75f", 2.0), ("#ff9f40", 4.0), ("#ff5f5f", 6.0), ("#d75fff", 8.0))


@dataclass(frozen=True)
class Guess:
    r"""A token that a model expects.

    Attributes:
        token: its id.
        text: what it stands for; bytes that are a part of a character as ``\xc3``.
        probability: of coming next.
    """

    token: int
    text: str
    probability: float


@dataclass(frozen=True)
class ScoredToken:
    """A piece of text, mostly one character, and -log2 of its probability.

    Attributes:
        text: one character or several.
        bits: its surprise.
        guesses: what the model thought likeliest where the piece begins, if that was asked for.
    """

    text: str
    bits: float
    guesses: tuple[Guess, ...] = ()

    @property
    def nats(self) -> float:
        """Surprise in nats: -ln of the probability."""
        return self.bits * math.log(2)

    @property
    def bits_per_character(self) -> float:
        """Surprise shared out to the characters of the piece."""
        return self.bits / len(self.text)

    @property
    def level(self) -> int:
        """How many steps of ``HEAT`` its surprise a character reaches."""
        return sum(self.bits_per_character >= least for _, least in HEAT)


@dataclass(frozen=True)
class Line:
    """A line of a text and its surprise.

    Attributes:
        number: counted from 1.
        text: without its newline.
        characters: with its newline.
        bits: its surprise, that of its newline included.
        z_score: by how many standard errors it score_tokens more than lines of its length do.
    """

    number: int
    text: str
    characters: int
    bits: float
    z_score: float

    @property
    def bits_per_character(self) -> float:
        """Surprise shared out to its characters."""
        return self.bits / self.characters


# -- weighing -----------------------------------------------------------------------------


def score_tokens(
    sampler: Sampler, text: str, before: DecodeState | None = None, guesses: int = 0
) -> Iterator[ScoredToken]:
    """Yield the pieces of a text with their surprise; their texts joined are the text.

    A piece is a token, or as many tokens as make whole characters. Memory does not grow with
    the text. A character that the tokenizer does not know costs -log2 of the probability of an
    unknown one and log2 of the number of characters that it may be.

    Args:
        sampler: the model.
        text: what is weighed.
        before: the place that it stands at; None is the beginning of a text, after a newline.
        guesses: how many of the likeliest tokens come with each piece.

    Raises:
        TokenizerError: the text holds a lone surrogate.
    """
    decoder = sampler.tokenizer.decoder()
    position, start, bits, first = 0, 0, 0.0, None
    for token, cost, likeliest in _tokens(sampler, text, before or sampler.read(""), guesses):
        first = likeliest if first is None else first
        bits += cost
        position += len(decoder.push(token))
        if position > start:
            yield ScoredToken(text[start:position], bits, first)
            start, bits, first = position, 0.0, None


def _tokens(
    sampler: Sampler, text: str, place: DecodeState, guesses: int
) -> Iterator[tuple[int, float, tuple[Guess, ...]]]:
    """Yield the tokens of a text, what each costs in bits, and what was likeliest there."""
    tokenizer, state, next_one = sampler.tokenizer, place.state, place.logits[None]  # (1, V)
    for ids in _blocks(tokenizer, text):
        out, state = sampler.engine.run(ids[None], state)  # (1, T, V)
        logits, next_one = np.concatenate([next_one, out[0, :-1]]), out[0, -1:]  # (T, V)
        nll = token_nll(logits, ids)[0] + tokenizer.unknown_nll(ids)
        likeliest = (
            best_guesses(tokenizer, log_probabilities(logits), guesses)
            if guesses
            else [()] * len(ids)
        )
        yield from zip(ids.tolist(), (nll / math.log(2)).tolist(), likeliest, strict=True)


def _blocks(tokenizer: Tokenizer, text: str) -> Iterator[NDArray[np.int64]]:
    """Yield the ids of a text, so many at once that their logits fit in memory."""
    size = max(1, min(PROMPT_CHUNK, HELD // tokenizer.vocab_size))
    for part in _parts(text):
        ids = tokenizer.encode(part).astype(np.int64)
        for start in range(0, len(ids), size):
            yield ids[start : start + size]


def _parts(text: str) -> Iterator[str]:
    """Cut a text behind newlines, which no token crosses, unless a line is very long."""
    start = 0
    while start < len(text):
        end = text.rfind("\n", start, start + PART) + 1 or start + PART
        yield text[start:end]
        start = end


def best_guesses(tokenizer: Tokenizer, scores: Scores, count: int) -> list[tuple[Guess, ...]]:
    """Return the likeliest tokens of each row (T, V), the likeliest first.

    Tokens that are never written are none of them.
    """
    allowed = scores.copy()
    allowed[:, list(tokenizer.never_sampled)] = -np.inf
    count = min(count, tokenizer.vocab_size - len(tokenizer.never_sampled))
    some = np.sort(np.argpartition(-allowed, count - 1, axis=-1)[:, :count])  # of equal ones
    values = np.take_along_axis(allowed, some, axis=-1)  # the lower id comes first
    order = np.argsort(-values, axis=-1, kind="stable")
    ids = np.take_along_axis(some, order, axis=-1).tolist()  # (T, count)
    probs = np.exp(np.take_along_axis(values, order, axis=-1)).tolist()
    return [
        tuple(Guess(id, _name(tokenizer, id), chance) for id, chance in zip(*row, strict=True))
        for row in zip(ids, probs, strict=True)
    ]


def _name(tokenizer: Tokenizer, id: int) -> str:
    return tokenizer.pieces[id].decode("utf-8", "backslashreplace")


# -- larger parts -------------------------------------------------------------------------


def by_word(pieces: list[ScoredToken]) -> list[ScoredToken]:
    """Join pieces to words, each with the space before it."""
    text = "".join(piece.text for piece in pieces)
    costs = [piece.bits_per_character for piece in pieces for _ in piece.text]
    return [
        ScoredToken(word[0], sum(costs[word.start() : word.end()]))
        for word in re.finditer(r"\s*\S+|\s+$", text)
    ]


def by_line(pieces: Iterable[ScoredToken]) -> list[Line]:
    """Join pieces to lines, in their order.

    The mean surprise of a line says little where the line is short: one rare character is half of
    it. So z_score is (bits - n m) / (s sqrt(n)) for a line of n characters, where m is the mean of
    the whole text a character and s the standard deviation of a character around it.
    """
    lines, texts, bits = list[tuple[str, float]](), list[str](), 0.0
    sums = np.zeros(3)  # of bits * bits, bits * length, length * length over all pieces
    for piece in pieces:
        length = len(piece.text)
        sums += piece.bits * piece.bits, piece.bits * length, length * length
        texts.append(piece.text)
        bits += piece.bits
        if piece.text.endswith("\n"):
            lines.append(("".join(texts), bits))
            texts, bits = [], 0.0
    if texts:
        lines.append(("".join(texts), bits))
    return _with_oddness(lines, sums)


def _with_oddness(lines: list[tuple[str, float]], sums: NDArray[np.float64]) -> list[Line]:
    count = sum(len(text) for text, _ in lines)
    mean = sum(bits for _, bits in lines) / max(1, count)
    squares = float(sums @ (1.0, -2 * mean, mean * mean))  # of bits - length * mean
    deviation = math.sqrt(max(squares, 1e-12) / max(1, count))
    return [
        Line(
            number,
            text.removesuffix("\n"),
            len(text),
            bits,
            (bits - len(text) * mean) / (deviation * math.sqrt(len(text))),
        )
        for number, (text, bits) in enumerate(lines, 1)
    ]

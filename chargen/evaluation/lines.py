"""Lines: their surprisal, many side by side, and which of them stand out.

Lines that are texts of their own are read side by side, and what several of them begin with is
read once: at each step the engine has one row for each different beginning.

Legend of shapes: L lines, T tokens, N different beginnings, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.engine import Engine, Logits, State
from chargen.evaluation.nll import Floats, Tokens
from chargen.evaluation.surprisal import MAX_LOGITS, ScoredToken
from chargen.sampling.filters import Scores, log_probabilities
from chargen.sampling.sampler import PROMPT_CHUNK, DecodeState, Sampler

SIDE_BY_SIDE = 1024  # lines at most


@dataclass(frozen=True)
class ScoredLine:
    """A line and its surprisal.

    Attributes:
        number: counted from 1.
        text: without its newline.
        characters: number, its newline included.
        bits: surprisal in bits, that of its newline included.
    """

    number: int
    text: str
    characters: int
    bits: float

    @property
    def bits_per_char(self) -> float:
        """Mean surprisal of its characters, in bits; 0 if it has none."""
        return self.bits / max(1, self.characters)


@dataclass(frozen=True)
class Line(ScoredLine):
    """A line of a text and its surprisal.

    Attributes:
        z_score: standard errors between its mean surprisal and that of the text.
    """

    z_score: float


# -- lines as they come -------------------------------------------------------------------


class LineScorer:
    """Scores lines as they come.

    Args:
        sampler: the model.
        stateful: read each line after those before it, not as a text of its own.
    """

    def __init__(self, sampler: Sampler, *, stateful: bool = False) -> None:
        self._sampler, self._stateful, self._count = sampler, stateful, 0
        self._place = sampler.read("")
        self._most = max(1, MAX_LOGITS // sampler.tokenizer.vocab_size)  # rows of logits at once

    def score(self, lines: Iterable[str]) -> Iterator[ScoredLine]:
        """Yield lines with their surprisal, in their order.

        The surprisal of a line is the sum of that of its tokens by ``surprisal.score_tokens``.

        Args:
            lines: as they are, each with its newline if it has one; at most ``SIDE_BY_SIDE`` of
                them are held at once.

        Raises:
            TokenizerError: a line holds a lone surrogate.
        """
        encode, rest = self._sampler.tokenizer.encode, iter(lines)
        while block := list(itertools.islice(rest, min(SIDE_BY_SIDE, self._most))):
            ids = [encode(line).astype(np.int64) for line in block]
            bits = self._one_after_another(ids) if self._stateful else self._side_by_side(ids)
            for line, own in zip(block, bits, strict=True):
                self._count += 1
                yield ScoredLine(self._count, line.removesuffix("\n"), len(line), own)

    def _one_after_another(self, lines: list[Tokens]) -> list[float]:
        """Return the bits of lines that are one text, and go on from its end."""
        found, self._place = self._read(np.concatenate(lines), self._place)
        rest = iter(found)
        return [sum(itertools.islice(rest, len(line))) for line in lines]

    def _read(self, ids: Tokens, place: DecodeState) -> tuple[list[float], DecodeState]:
        """Return the bits of each of ids (T,) after a place, and the place after them."""
        bits, size = list[float](), min(PROMPT_CHUNK, self._most)
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            out, state = self._sampler.engine.run(part[None], place.state)  # (1, T, V)
            logits = np.concatenate([place.logits[None], out[0, :-1]])  # (T, V)
            bits += self._bits(log_probabilities(logits), np.arange(len(part)), part).tolist()
            place = DecodeState(state, out[0, -1])
        return bits, place

    def _bits(self, logprobs: Scores, rows: Tokens, tokens: Tokens) -> Floats:
        """Return the surprisal of tokens (L,), each by its row of log probabilities (N, V)."""
        nll = self._sampler.tokenizer.unknown_nll(tokens) - logprobs[rows, tokens]
        bits: Floats = nll / math.log(2)
        return bits

    def _side_by_side(self, lines: list[Tokens]) -> list[float]:
        """Return the bits of lines that are texts of their own."""
        ids, lengths = np.concatenate(lines), np.array([len(line) for line in lines])
        starts, bits, step = np.cumsum(lengths) - lengths, np.zeros(len(lines)), 0
        left = np.flatnonzero(lengths)  # lines that have not ended
        rows = np.zeros(len(left), np.int64)
        known = _Beginnings(self._place.state, self._place.logits[None], rows)
        while len(left) > 1:
            tokens = ids[starts[left] + step]
            bits[left] += self._bits(log_probabilities(known.logits), known.rows, tokens)
            step += 1
            longer = lengths[left] > step
            left, known = left[longer], known.of(longer)
            if len(left):
                known = known.after(self._sampler.engine, tokens[longer])
        for line in left.tolist():  # longer than all others: in one go
            rest = ids[starts[line] + step : starts[line] + lengths[line]]
            bits[line] = sum(self._read(rest, known.place(0))[0], bits[line])
        found: list[float] = bits.tolist()
        return found


class _Beginnings(NamedTuple):
    """What lines begin with, each different beginning once.

    Attributes:
        state: of the engine after each, parts (1, N, H).
        logits: of the token after each (N, V).
        rows: the beginning of each line (L,).
    """

    state: State
    logits: Logits
    rows: Tokens

    def of(self, lines: NDArray[np.bool_]) -> _Beginnings:
        """Return the beginnings of some of the lines (L,)."""
        return self._replace(rows=self.rows[lines])

    def after(self, engine: Engine, tokens: Tokens) -> _Beginnings:
        """Return the beginnings of the lines after one more token of each (L,)."""
        vocab_size = self.logits.shape[1]
        found, rows = np.unique(self.rows * vocab_size + tokens, return_inverse=True)
        parents, last = np.divmod(found, vocab_size)
        out, state = engine.run(last[:, None], tuple(part[:, parents] for part in self.state))
        return _Beginnings(state, out[:, 0], rows)

    def place(self, line: int) -> DecodeState:
        """Return the state after the beginning of a line."""
        row = self.rows[line]
        return DecodeState(tuple(part[:, [row]] for part in self.state), self.logits[row])


# -- lines of one text --------------------------------------------------------------------


def by_line(tokens: Iterable[ScoredToken]) -> list[Line]:
    """Join tokens to lines, in their order.

    In a short line, one rare character dominates the mean surprisal. The z-score accounts for
    the length: (bits - n m) / (s sqrt(n)) for a line of n characters, with the mean surprisal m
    of a character in the whole text and its standard deviation s.
    """
    lines, texts, bits = list[tuple[str, float]](), list[str](), 0.0
    sums = np.zeros(3)  # of bits * bits, bits * length, length * length over all tokens
    for token in tokens:
        length = len(token.text)
        sums += token.bits * token.bits, token.bits * length, length * length
        texts.append(token.text)
        bits += token.bits
        if token.text.endswith("\n"):
            lines.append(("".join(texts), bits))
            texts, bits = [], 0.0
    if texts:
        lines.append(("".join(texts), bits))
    return _with_z_scores(lines, sums)


def _with_z_scores(lines: list[tuple[str, float]], sums: NDArray[np.float64]) -> list[Line]:
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

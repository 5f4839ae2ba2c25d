"""Protocols of evaluation: the loss of a model on a text, token by token.

*Stateful*: one pass from beginning to end, which never resets the recurrent state. *Stateless*:
windows of 256 tokens, each from the initial state and one token before it, as transformers with
such a window are scored (nanoGPT's protocol, its windows laid side by side); for comparison with
published figures.

Where a segment consists of texts, there is one protocol: each is read in one pass from the initial
state and the token before it, with its label.

Beside it stand ``baselines`` (n-grams, compressors, chance), ``dynamic`` (dynamic evaluation)
and ``report``, which puts all figures of a text together.

Legend of shapes: B streams, T steps, V vocabulary, N tokens of the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.data.dataset import Segment
from chargen.engine import Engine
from chargen.evaluation.groups import STREAMS
from chargen.evaluation.nll import STEPS, Floats, read, read_segment, token_nll
from chargen.tokenizers.byte import ByteTokenizer, begins_character

WINDOW = 256  # tokens of a stateless window
SCORED = 1 << 21  # tokens of a held-out part that are scored at most
BLOCKS = 40  # in which a text is cut for the interval
SHORTEST = 100  # tokens of such a block
TWO_SIDED = 1.96  # standard errors either side that hold 95 % of a normal distribution

OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class TokenLosses:
    """The loss of each token of a text.

    Attributes:
        nll: -ln P of each token given those before it, (N,).
        correct: whether it was the most likely token, (N,), where that is known.
    """

    nll: Floats
    correct: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Score:
    """The loss of a text: nats in all, and the size of the text.

    Attributes:
        nats: sum of -ln P.
        tokens: how many were scored.
        characters: that they stand for.
        bytes: that they take in UTF-8.
        accuracy: fraction of tokens that were the most likely one, where it is known.
        margin: half of the 95 % interval of the bits per character, where there is enough text.
    """

    nats: float
    tokens: int
    characters: float
    bytes: float = math.nan
    accuracy: float | None = None
    margin: float | None = None

    @property
    def nats_per_token(self) -> float:
        """Mean loss of a token in nats."""
        return self.nats / self.tokens

    @property
    def bits_per_char(self) -> float:
        """Mean loss of a character in bits, comparable across tokenizers."""
        return self.nats / self.characters / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Mean loss of a byte of UTF-8 in bits, comparable across alphabets as well."""
        return self.nats / self.bytes / math.log(2)

    @property
    def perplexity(self) -> float:
        """e to the power of the nats per token."""
        return math.exp(self.nats_per_token)


# -- protocols ----------------------------------------------------------------------------


def stateful(
    engine: Engine,
    segment: Segment,
    progress: OnProgress = lambda _: None,
    most: int = STEPS,
) -> TokenLosses:
    """Read a segment by ``read_segment``, at most so many tokens of a row a call."""
    nll, correct, done = np.zeros(len(segment)), np.zeros(len(segment), np.bool_), 0
    for part in read_segment(engine, segment, most):
        scored = part.scored
        places = part.places[scored]
        losses, hits = token_nll(part.logits, part.targets)
        nll[places], correct[places] = losses[scored], hits[scored]
        done += len(places)
        progress(done)
    return TokenLosses(nll, correct)


def stateless(
    engine: Engine,
    segment: Segment,
    width: int = WINDOW,
    progress: OnProgress = lambda _: None,
) -> TokenLosses:
    """Read one text in windows, each from the initial state and one token before it."""
    ids = segment.with_context
    starts = np.arange(len(ids) - len(segment), len(ids), width)  # the first target of each
    places = np.minimum(starts[:, None] + np.arange(-1, width), len(ids) - 1)  # (B, width+1)
    nll, correct = np.empty((len(starts), width)), np.empty((len(starts), width), np.bool_)
    for batch in range(0, len(starts), STREAMS):
        rows = slice(batch, batch + STREAMS)
        tokens = ids[places[rows]]
        for steps, logits in read(engine, tokens):
            nll[rows, steps], correct[rows, steps] = token_nll(logits, tokens[:, 1:][:, steps])
        progress(batch * width)
    return TokenLosses(nll.reshape(-1)[: len(segment)], correct.reshape(-1)[: len(segment)])


def tempered(
    engine: Engine,
    segment: Segment,
    temperatures: Sequence[float],
    progress: OnProgress = lambda _: None,
) -> Floats:
    """Return the stateful losses (K, N), the logits divided by each of K temperatures."""
    losses, done = np.zeros((len(temperatures), len(segment))), 0
    for part in read_segment(engine, segment):
        scored = part.scored
        places = part.places[scored]
        for row, temperature in zip(losses, temperatures, strict=True):
            row[places] = token_nll(part.logits / temperature, part.targets)[0][scored]
        done += len(places)
        progress(done)
    return losses


# -- scores -------------------------------------------------------------------------------


def score(
    losses: TokenLosses, segment: Segment, tokens: slice | NDArray[np.int64] = slice(None)
) -> Score:
    """Sum the losses of a text, or of some of its tokens.

    An unknown character adds ln(``Tokenizer.unknown_count``) on top of -ln P(unknown).

    Args:
        losses: of all tokens of the text.
        segment: the text.
        tokens: which of them.
    """
    ids = segment.ids[tokens]
    nll = losses.nll[tokens] + segment.tokenizer.unknown_nll(ids)
    characters, sizes = _sizes(segment)
    return Score(
        float(nll.sum()),
        len(ids),
        float(characters[tokens].sum()),
        float(sizes[tokens].sum()),
        None if losses.correct is None else float(losses.correct[tokens].mean()),
        half_interval(nll, characters[tokens]),
    )


def _sizes(segment: Segment) -> tuple[Floats, Floats]:
    """Return the characters and the bytes that each token of a text stands for, (N,) each."""
    tokenizer, ids = segment.tokenizer, segment.ids
    sizes = np.array([len(piece) for piece in tokenizer.pieces], np.float64)[ids]
    unknown = ids == tokenizer.unknown_id
    if tokenizer.unknown_id is not None and unknown.any() and segment.bytes:
        sizes[unknown] = (segment.bytes - sizes[~unknown].sum()) / unknown.sum()
    if isinstance(tokenizer, ByteTokenizer):
        return begins_character(ids.astype(np.uint8).tobytes()).astype(np.float64), sizes
    begun = [sum(byte & 0xC0 != 0x80 for byte in piece) for piece in tokenizer.pieces]
    return np.array(begun, np.float64)[ids], sizes


def half_interval(nll: Floats, characters: Floats) -> float | None:
    """Return half the 95 % interval of the mean, from blocks that hardly depend on each other."""
    count = min(BLOCKS, len(nll) // SHORTEST)
    if count < 8:
        return None
    blocks = [
        part.sum() / max(1, size.sum()) / math.log(2)
        for part, size in zip(
            np.array_split(nll, count), np.array_split(characters, count), strict=True
        )
    ]
    return TWO_SIDED * float(np.std(blocks, ddof=1)) / math.sqrt(count)

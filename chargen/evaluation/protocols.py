"""What a text costs a model, token by token, in two protocols.

*Carried*: one pass from beginning to end with the state carried all along. *Windows*: the state
begins anew every 256 tokens, each window from one token before it, as transformers with such a
window are scored (nanoGPT's protocol, its windows laid side by side); for comparison with
published figures.

Beside it stand ``baselines`` (counting, compressors, chance), ``adaptation`` (dynamic evaluation)
and ``report``, which puts all figures of a text together.

Legend of shapes: B lanes, T steps, V vocabulary, N tokens of the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chargen.data.corpus import Corpus, count_characters
from chargen.engine import Engine, Logits
from chargen.sampling.filters import log_probabilities

WINDOW = 256  # tokens of a fresh window
LANES = 32  # windows read side by side
STEPS = 1024  # tokens of a lane read in one call
LOGITS = 1 << 22  # held at once, at most
SCORED = 1 << 21  # tokens of a held-out part that are scored at most
BLOCKS = 40  # in which a text is cut for the interval
SHORTEST = 100  # tokens of such a block
TWO_SIDED = 1.96  # standard errors either side that hold 95 % of a normal distribution

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Costs:
    """What each token of a text costs.

    Attributes:
        nats: -ln P of each token given those before it, (N,).
        hits: whether it was the likeliest guess, (N,), where that is known.
    """

    nats: Floats
    hits: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Score:
    """The cost of a text: nats in all, and what it was paid for.

    Attributes:
        nats: sum of -ln P.
        tokens: how many were scored.
        characters: that they stand for.
        octets: bytes in UTF-8 that they stand for.
        accuracy: share of tokens that were the likeliest guess, where it is known.
        margin: half of the 95 % interval of the bits per character, where there is enough text.
    """

    nats: float
    tokens: int
    characters: float
    octets: float = math.nan
    accuracy: float | None = None
    margin: float | None = None

    @property
    def nats_per_token(self) -> float:
        """Mean cost of a token in nats: the loss."""
        return self.nats / self.tokens

    @property
    def bits_per_char(self) -> float:
        """Mean cost of a character in bits, comparable across tokenizers."""
        return self.nats / self.characters / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Mean cost of a byte of UTF-8 in bits, comparable across alphabets as well."""
        return self.nats / self.octets / math.log(2)

    @property
    def perplexity(self) -> float:
        """e to the power of the nats per token."""
        return math.exp(self.nats_per_token)


# -- protocols ----------------------------------------------------------------------------


def carried(engine: Engine, corpus: Corpus, progress: Progress = lambda _: None) -> Costs:
    """Read the whole validation part in one pass with the carried state."""
    first, ids = with_context(corpus)
    parts = []
    for start, logits in _read(engine, ids[None]):
        parts.append(_costs(logits, ids[None, start + 1 :][:, : logits.shape[1]]))
        progress(start)
    nats, hits = (np.concatenate(part, axis=1)[0, first - 1 :] for part in zip(*parts, strict=True))
    return Costs(nats, hits)


def windows(
    engine: Engine, corpus: Corpus, width: int = WINDOW, progress: Progress = lambda _: None
) -> Costs:
    """Read the validation part in windows, each from a fresh state and one token before it."""
    first, ids = with_context(corpus)
    starts = np.arange(first, len(ids), width)  # the first target of each window
    places = np.minimum(starts[:, None] + np.arange(-1, width), len(ids) - 1)  # (windows, width+1)
    nats, hits = np.empty((len(starts), width)), np.empty((len(starts), width), np.bool_)
    for batch in range(0, len(starts), LANES):
        rows = slice(batch, batch + LANES)
        tokens = ids[places[rows]]
        for start, logits in _read(engine, tokens):
            steps = slice(start, start + logits.shape[1])
            nats[rows, steps], hits[rows, steps] = _costs(logits, tokens[:, 1:][:, steps])
        progress(batch * width)
    count = len(ids) - first
    return Costs(nats.reshape(-1)[:count], hits.reshape(-1)[:count])


def tempered(
    engine: Engine,
    corpus: Corpus,
    temperatures: Sequence[float],
    progress: Progress = lambda _: None,
) -> Floats:
    """Return the costs (K, N) with the carried state, the logits divided by K temperatures."""
    first, ids = with_context(corpus)
    parts = []
    for start, logits in _read(engine, ids[None]):
        targets = ids[None, start + 1 :][:, : logits.shape[1]]
        parts.append([_costs(logits / t, targets)[0][0] for t in temperatures])
        progress(start)
    return np.concatenate(parts, axis=1)[:, first - 1 :]


def with_context(corpus: Corpus) -> tuple[int, Tokens]:
    """Return where the validation part begins, and the ids from the context before it on, (N,)."""
    ids = np.concatenate([corpus.context, corpus.validation]).astype(np.int64)
    return max(1, len(corpus.context)), ids


def _read(engine: Engine, tokens: Tokens) -> Iterator[tuple[int, Logits]]:
    """Yield the logits (B, T, V) after each of tokens (B, N + 1) but the last, some at a time."""
    lanes, count = tokens.shape
    state, steps, start = engine.init_state(lanes), 1, 0
    while start < count - 1:
        logits, state = engine.run(tokens[:, start : min(start + steps, count - 1)], state)
        yield start, logits
        start += logits.shape[1]
        steps = max(1, min(STEPS, LOGITS // (lanes * logits.shape[2])))


def _costs(logits: Logits, targets: Tokens) -> tuple[Floats, NDArray[np.bool_]]:
    """Return -ln P of the targets (B, T), and whether these are the likeliest, (B, T)."""
    scores = log_probabilities(logits)  # (B, T, V)
    wanted = np.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    return -wanted, scores.argmax(axis=-1) == targets


# -- scores -------------------------------------------------------------------------------


def score(costs: Costs, corpus: Corpus, tokens: slice = slice(None)) -> Score:
    """Sum the costs of the validation part, or of some of its tokens.

    Naming an unknown character costs ln(``Tokenizer.unlisted``) on top of -ln P(unknown).
    """
    ids = corpus.validation[tokens]
    nats = costs.nats[tokens] + corpus.tokenizer.naming(ids)
    characters, octets = _sizes(corpus)
    return Score(
        float(nats.sum()),
        len(ids),
        float(characters[ids].sum()),
        float(octets[ids].sum()),
        None if costs.hits is None else float(costs.hits[tokens].mean()),
        half_interval(nats, characters[ids]),
    )


def _sizes(corpus: Corpus) -> tuple[Floats, Floats]:
    """Return the characters and the bytes that each id stands for, (V,) each."""
    tokenizer = corpus.tokenizer
    characters = np.array([count_characters(piece) for piece in tokenizer.pieces], np.float64)
    octets = np.array([len(piece) for piece in tokenizer.pieces], np.float64)
    unknown = corpus.validation == tokenizer.unknown_id
    if tokenizer.unknown_id is not None and unknown.any() and corpus.validation_bytes:
        known = octets[corpus.validation[~unknown]].sum()
        octets[tokenizer.unknown_id] = (corpus.validation_bytes - known) / unknown.sum()
    return characters, octets


def half_interval(nats: Floats, characters: Floats) -> float | None:
    """Return half the 95 % interval of the mean, from blocks that hardly depend on each other."""
    count = min(BLOCKS, len(nats) // SHORTEST)
    if count < 8:
        return None
    blocks = [
        part.sum() / max(1, size.sum()) / math.log(2)
        for part, size in zip(
            np.array_split(nats, count), np.array_split(characters, count), strict=True
        )
    ]
    return TWO_SIDED * float(np.std(blocks, ddof=1)) / math.sqrt(count)

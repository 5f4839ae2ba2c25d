"""How much each piece of a text surprises a model that has read all before it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from chargen.filters import probabilities
from chargen.sampler import Place, Sampler

LAST = 2000  # characters at the end of a text that are weighed


@dataclass(frozen=True)
class Weighed:
    """A piece of text, mostly one character, and -log2 of its probability."""

    text: str
    bits: float

    @property
    def bits_per_character(self) -> float:
        """Surprise shared out to the characters of the piece."""
        return self.bits / len(self.text)


def surprises(sampler: Sampler, text: str, before: Place | None) -> list[Weighed]:
    """Return the pieces of a text, or of its last ``LAST`` characters, with their surprise.

    A piece is a token, or as many tokens as make whole characters.

    Args:
        sampler: the model.
        text: what is weighed.
        before: the place that it stands at; None is the beginning of a text.

    Raises:
        TokenizerError: the text holds a lone surrogate.
    """
    if len(text) > LAST:
        before, text = sampler.read(text[:-LAST], before), text[-LAST:]
    if not text:
        return []
    ids = sampler.tokenizer.encode(text).astype(np.int64)
    state = before.state if before else sampler.engine.init_state(1)
    first = (before or sampler.read("")).logits[None]  # (1, V)
    out, _ = sampler.engine.run(ids[None], state)  # (1, T, V)
    logits = np.concatenate([first, out[0, :-1]]).astype(np.float64)  # (T, V)
    bits = -np.log2(probabilities(logits)[np.arange(len(ids)), ids])
    return _cut(sampler, text, ids.tolist(), bits.tolist())


def _cut(sampler: Sampler, text: str, ids: list[int], bits: list[float]) -> list[Weighed]:
    """Cut a text where its tokens complete characters."""
    decoder, pieces, start, sum_bits = sampler.tokenizer.decoder(), [], 0, 0.0
    for token, cost in zip(ids, bits, strict=True):
        sum_bits += cost
        if length := len(decoder.push(token)):
            pieces.append(Weighed(text[start : start + length], sum_bits))
            start, sum_bits = start + length, 0.0
    return [piece for piece in pieces if piece.text]


def by_word(pieces: list[Weighed]) -> list[Weighed]:
    """Join pieces to words, each with the space before it."""
    text = "".join(piece.text for piece in pieces)
    costs = [piece.bits_per_character for piece in pieces for _ in piece.text]
    return [
        Weighed(word[0], sum(costs[word.start() : word.end()]))
        for word in re.finditer(r"\s*\S+|\s+$", text)
    ]

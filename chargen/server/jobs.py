"""Jobs of the server: what a client asks for, and the pieces of what it gets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from chargen.config import SampleConfig
from chargen.errors import ChargenError
from chargen.sampling.records import Label

Words = Iterable[str] | os.PathLike[str]


class Busy(ChargenError):  # noqa: N818  (a state, as clients see it: HTTP 429)
    """The queue of the server is full."""


@dataclass(frozen=True)
class TextJob:
    """Texts to generate after one prompt.

    Attributes:
        prompt: text as the model reads it, see ``data.decoding.as_read``; an empty one is a
            newline.
        config: sampling parameters.
        count: number of texts after the prompt, which is read once.
        logprobs: scores of each token with the k most likely ones; None for no scores.
        echo: score the tokens of the prompt too; needs logprobs.
        regex: regular expression that each whole text matches.
        words: the only words that the texts may have.
        no_copy: never copy so many characters of the training text.
        max_tokens: tokens of each text at most; the text then ends by ``length``. None for no
            limit besides the characters of ``config.length``.
        label: of the texts; None for no label.
    """

    prompt: str
    config: SampleConfig
    count: int = 1
    logprobs: int | None = None
    echo: bool = False
    regex: str | None = None
    words: Words | None = None
    no_copy: int | None = None
    max_tokens: int | None = None
    label: Label | None = None


class TokenScore(NamedTuple):
    r"""A token with its log probability under the model, before any filter, in nats.

    Attributes:
        text: of the token; bytes that are a part of a character as ``\xc3``.
        token: its id; -1 for several that are one character together.
        logprob: None for the first token of a prompt, before which nothing was read.
        best: the most likely tokens in its place, best first: text and log probability.
    """

    text: str
    token: int
    logprob: float | None
    best: list[tuple[str, float]]


@dataclass(frozen=True)
class Chunk:
    """New text of one of the texts of a job.

    Attributes:
        index: of the text, from 0.
        text: new text; empty at an end without any.
        tokens: number of new tokens.
        scores: of the new tokens, where logprobs are asked for.
        finish_reason: of the last chunk of a text: ``length``, ``stop``, ``complete`` or
            ``dead_end``; see ``sampling.decoding.Sample``.
    """

    index: int
    text: str
    tokens: int
    scores: list[TokenScore]
    finish_reason: str | None

    def merged(self, later: Chunk) -> Chunk:
        """Return this chunk with a later one of the same text."""
        scores = [*self.scores, *later.scores]
        tokens = self.tokens + later.tokens
        return Chunk(self.index, self.text + later.text, tokens, scores, later.finish_reason)

"""Entries of the batch: jobs with their prompt, their decoder and their texts."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from chargen.config import SampleConfig
from chargen.engine import Logits, State
from chargen.sampling.decoding import Decoder
from chargen.sampling.records import with_end
from chargen.sampling.sampler import REMEMBERED, Sampler
from chargen.server.jobs import TextJob, TokenScore
from chargen.tokenizers.base import Ids

OF_A_TEXT: dict[str, Any] = {"length": 0, "stop": (), "until": None, "seed": None}
"""The parameters that say when a text ends, not which token comes next; at some values."""
MAX_NODES = 1000  # of a regular expression: all may be looked at for each character


class Entry:
    """A job in the batch.

    Attributes:
        job: what the client asked for.
        begins: number of tokens that are read before the prompt.
        ids: these and the prompt (T,).
        decoder: selects the tokens of its texts.
        samples: texts that have not begun.
        left: number of texts that are not finished.
        read: number of tokens of the prompt that were read.
        state: after them, (1, 1, H) each part.
        logits: of the next token (V,).
        prompt_scores: of the tokens that were read, for a job with echo.
        failed: whether it ended with an error.
    """

    def __init__(
        self, job: TextJob, begins: Ids, ids: Ids, decoder: Decoder, state: State, end: str | None
    ) -> None:
        self.job, self.decoder, self.state = job, decoder, state
        self.begins, self.ids = len(begins), np.concatenate([begins, ids])
        config = replace(job.config, length=0) if job.max_tokens == 0 else job.config
        before = ids[-REMEMBERED:].astype(np.int64)
        self.samples = deque(decoder.begin(with_end(config, end), before, job.count))
        self.left = job.count
        self.read = 0
        self.logits: Logits = np.zeros(0, np.float32)
        self.prompt_scores: list[TokenScore] = []
        self.failed = False

    @property
    def unread(self) -> int:
        """Number of tokens of the prompt that are left to read."""
        return len(self.ids) - self.read


class Entries:
    """Makes entries of jobs; texts with the same parameters share a decoder.

    Args:
        sampler: the model.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler, self._lock = sampler, threading.Lock()
        self._decoders: WeakValueDictionary[SampleConfig, Decoder] = WeakValueDictionary()

    def make(self, job: TextJob) -> Entry:
        """Return the entry of a job.

        Raises:
            ConfigError: a setting is not possible with this model.
            TokenizerError: the prompt holds a lone surrogate.
        """
        sampler = self._sampler if job.label is None else self._sampler.labelled(job.label)
        end, encode = sampler.reading.end, sampler.tokenizer.encode
        begins, ids = encode(end or ""), encode(job.prompt or ("" if end else "\n"))
        state = sampler.engine.init_state(1)
        return Entry(job, begins, ids, self._decoder(job), state, end)

    def _decoder(self, job: TextJob) -> Decoder:
        """Return the decoder of a job: its own if it looks at each text by itself.

        What fails in such a decoder concerns no other job then.
        """
        tokenizer = self._sampler.tokenizer
        _check_regex(job.regex)
        constraint = self._sampler.constraint(job.config, job.regex, job.words, job.no_copy)
        if constraint:
            return Decoder(tokenizer, job.config, constraint)
        config = replace(job.config, **OF_A_TEXT)
        with self._lock:
            known = self._decoders.get(config) or Decoder(tokenizer, config)
            if not known.by_row:
                self._decoders[config] = known
        return known


def _check_regex(regex: str | None) -> None:
    """Refuse a regular expression that would hold up the texts of others."""
    from chargen.sampling.constraints.patterns import Network, refuse

    if regex is not None and len(Network(regex).reads) > MAX_NODES:
        words = f"needs more than {MAX_NODES:,} states, too many for a server"
        raise refuse(regex, f"{words}; use smaller numbers in its repeats")

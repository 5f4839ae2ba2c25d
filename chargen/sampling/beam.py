"""Beam search for the most likely text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chargen.config import SampleConfig, refuse
from chargen.sampling.decoding import logit_bias
from chargen.sampling.endings import find_stop
from chargen.sampling.filters import Scores, log_probabilities
from chargen.sampling.generated import Generated
from chargen.sampling.records import with_end
from chargen.sampling.sampler import DecodeState, Sampler

USED = {"length", "stop", "logit_bias", "ban"}  # sampling parameters of a beam search


def beam_search(
    sampler: Sampler, state: DecodeState, config: SampleConfig, width: int
) -> list[Generated]:
    """Return the most likely texts that a beam search finds, best first, with their logprobs.

    Each step extends the beam by one token and keeps the ``width`` most likely texts; of equal
    ones the lower id comes first. Of the sampling parameters it takes length, stop texts, bias
    and bans.

    Args:
        sampler: the model.
        state: after the prompt.
        config: sampling parameters.
        width: number of texts in the beam.

    Raises:
        ConfigError: a banned or biased character has no token of its own, or another parameter is
            not at its default.
    """
    usual = vars(SampleConfig())
    changed = [name for name, value in vars(config).items() if value != usual[name]]
    refuse(changed, set(changed) - USED, "beam search is not random sampling")
    config = with_end(config, sampler.reading.end)
    bias = logit_bias(sampler.tokenizer, config)
    beam = [Generated(finish_reason="" if config.length else "length")]
    done: list[Generated] = []
    recurrent, logits = state.state, state.logits[None]
    while beam and not beam[0].finish_reason:
        logprobs = log_probabilities(logits)  # (B, V)
        rows, tokens = _most_likely(beam, logprobs + bias, width - len(done))
        extended = [
            _extended(sampler, beam[row], token, float(logprobs[row, token]), config)
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True)
        ]
        done += [text for text in extended if text.finish_reason]
        left = [n for n, text in enumerate(extended) if not text.finish_reason]
        beam = [extended[n] for n in left]
        if beam:
            recurrent = tuple(part[:, rows[left]] for part in recurrent)
            out, recurrent = sampler.engine.run(tokens[left][:, None], recurrent)
            logits = out[:, 0]
    ranked = sorted([*beam, *done], key=lambda text: -text.logprob)
    return [replace(text, number=number) for number, text in enumerate(ranked)]


def _most_likely(
    beam: list[Generated], logprobs: Scores, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and tokens of the most likely continuations."""
    totals = np.array([text.logprob for text in beam])[:, None] + logprobs
    order = np.argsort(-totals, axis=None, kind="stable")[:width]
    order = order[totals.ravel()[order] > -np.inf]
    rows, tokens = np.divmod(order, totals.shape[1])
    return rows, tokens


def _extended(
    sampler: Sampler, old: Generated, token: int, logprob: float, config: SampleConfig
) -> Generated:
    """Return a text with one more token, finished if it has its length or a stop text."""
    tokens = (*old.tokens, token)
    text = sampler.tokenizer.decode(tokens, final=False)
    stop = find_stop(text, config.stop)
    end = config.length if stop is None else stop
    reason = "stop" if end < config.length else ""
    reason = reason or ("length" if len(text) >= config.length else "")
    return Generated(text[:end], reason, tokens, (*old.logprobs, logprob))

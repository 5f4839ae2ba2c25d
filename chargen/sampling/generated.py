"""Text that a model has generated, with how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from chargen.sampling.decoding import Sample


@dataclass(frozen=True)
class Generated:
    """A generated text.

    Attributes:
        text: without the prompt, and without the stop text that ended it.
        finish_reason: ``length``; ``stop``; ``complete``, if a constraint allowed no more text;
            ``dead_end``, if no token was allowed but the constraint is not met.
        tokens: ids of all tokens, those of a stop text included.
        logprobs: log probability of each token under the model, before any filter, in nats;
            empty unless asked for.
        seed: random seed of the batch; None of a beam search.
        number: index in the batch.
    """

    text: str = ""
    finish_reason: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    seed: int | None = None
    number: int = 0

    @property
    def logprob(self) -> float:
        """Log probability of the whole text, in nats."""
        return sum(self.logprobs)

    @classmethod
    def of(cls, sample: Sample) -> Generated:
        """Return the text of a batch as it is now."""
        tokens, logprobs = tuple(sample.tokens), tuple(sample.logprobs)
        reason = sample.finish_reason or ""
        return cls(sample.text, reason, tokens, logprobs, sample.seed, sample.number)

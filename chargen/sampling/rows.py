"""Rows of the engine: one for each text of a batch, which joins and leaves at any step.

Legend of shapes: B texts, V vocabulary, H size of a part of the state.
"""

from __future__ import annotations

import numpy as np

from chargen.engine import Engine, Logits, State
from chargen.sampling.decoding import Sample
from chargen.sampling.filters import Tokens


class Rows:
    """Texts in the engine.

    Attributes:
        last: sampled tokens (B,) that the engine has not read yet; None if there are none.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state: State = ()  # parts (1, B, H); none before the first text
        self._logits = np.zeros((0, 0), np.float32)  # (B, V)
        self.last: Tokens | None = None

    def join(self, states: list[State], logits: list[Logits]) -> None:
        """Append texts in states (1, 1, H), with the logits (V,) of their next tokens."""
        before = [self._state] if len(self.logits()) else []
        parts = zip(*before, *states, strict=True)
        self._logits = np.stack([*(self._logits if before else ()), *logits])
        self._state = tuple(np.concatenate(part, axis=1) for part in parts)

    def logits(self) -> Logits:
        """Read the last tokens and return the logits (B, V) of the next ones."""
        if self.last is not None:
            out, self._state = self._engine.run(self.last[:, None], self._state)
            self._logits, self.last = out[:, 0], None
        return self._logits

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows."""
        self._state = tuple(part[:, rows] for part in self._state)
        self._logits = self._logits[rows]
        self.last = self.last[rows] if rows and self.last is not None else None

    def unfinished(self, samples: list[Sample]) -> list[Sample]:
        """Return the texts that are not finished, and drop the rows of the others."""
        rows = [row for row, sample in enumerate(samples) if sample.finish_reason is None]
        if rows and len(rows) < len(samples):
            self.keep(rows)
        return [samples[row] for row in rows]

"""Limit on the scores of tokens that the answers in work hold in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chargen.server.errors import RequestError

MAX_SCORES = 1 << 18  # of one answer, the most likely tokens in each place included
MAX_HELD = 4 * MAX_SCORES  # of all answers, about 400 MB


class Scores:
    """The scores of all answers in work."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def hold(self, tokens: int, top: int, param: str) -> Iterator[None]:
        """Hold the memory of an answer while it is in work.

        Args:
            tokens: that are scored.
            top: most likely tokens that come with each.
            param: field that asks for them.

        Raises:
            RequestError: these are too many, or the other answers hold too many now.
        """
        count = tokens * (top + 1)
        if count > MAX_SCORES:
            words = f"{tokens:,} tokens with {top} likeliest ones each are too many scores"
            raise RequestError(400, f"{words}; allowed: {MAX_SCORES:,} together", param=param)
        if self._held + count > MAX_HELD:
            words = "other answers hold too many scores now; try again, or ask for fewer"
            raise RequestError(429, words, param=param, code="too_many_scores")
        self._held += count
        try:
            yield
        finally:
            self._held -= count

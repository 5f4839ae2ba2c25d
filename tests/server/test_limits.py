"""Limit on the scores that answers hold in memory."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from chargen.server.errors import RequestError
from chargen.server.limits import MAX_HELD, MAX_SCORES, Scores


def test_the_scores_of_all_answers_together_are_limited() -> None:
    scores, whole = Scores(), MAX_SCORES // 4
    for _ in range(2):  # what was held is free again
        with ExitStack() as held:
            for _ in range(MAX_HELD // MAX_SCORES):
                held.enter_context(scores.hold(whole, 3, "top"))
            with pytest.raises(RequestError, match="other answers hold too many") as full:
                held.enter_context(scores.hold(1, 0, "top"))
            held.enter_context(scores.hold(0, 0, "logprobs"))  # nothing refuses no scores
    assert full.value.status == 429
    with pytest.raises(RequestError, match="too many scores") as much, ExitStack() as held:
        held.enter_context(scores.hold(whole + 1, 3, "top"))
    assert (much.value.status, much.value.param) == (400, "top")

"""Time budget of a run: time used, time left, and the steps that fit."""

from __future__ import annotations

import time

from chargen.config import TrainConfig
from chargen.training.plan import EVALUATION_SHARE, Plan, budget_steps


class TimeBudget:
    """The clock of a session.

    Args:
        config: the budgets.
        began: the clock (``time.monotonic``) when the process began.
        before: seconds used in sessions before this one.
        ending: seconds that the end of the run is expected to take.

    Attributes:
        ending: the same, corrected as the run goes on.
    """

    def __init__(self, config: TrainConfig, began: float, before: float, ending: float) -> None:
        self._config, self._began, self._before = config, began, before
        self.ending = ending
        self._first = self._mark = (time.monotonic(), 0)

    def start(self, step: int) -> None:
        """Note that the first step of the session is about to be taken."""
        self._first = self._mark = (time.monotonic(), step)

    @property
    def seconds(self) -> float:
        """Time used, in all sessions."""
        return self._before + time.monotonic() - self._began

    def is_over(self) -> bool:
        """Tell whether the time budget is used up."""
        return self._config.time is not None and self.seconds > self._config.time

    def leaves_only_the_end(self) -> bool:
        """Tell whether the time budget leaves room for nothing but the end."""
        return self._config.time is not None and self.seconds > self._config.time - self.ending

    def step_seconds(self, step: int) -> float:
        """Return the time of a step in this session, evaluations included."""
        began, first = self._first
        return (time.monotonic() - began) / max(1, step - first)

    def seconds_left(self, step: int, steps: int) -> float:
        """Return the time to the end of the run, at the speed of this session."""
        return (steps - step) * self.step_seconds(step) + self.ending

    def affordable(self, step: int, plan: Plan, steps_per_epoch: float) -> int:
        """Return the steps in all that fit, at the speed since this was last asked."""
        now = time.monotonic()
        speed = (now - self._mark[0]) / max(1, step - self._mark[1])
        self._mark = now, step
        if self._config.time is None or step >= plan.steps:
            return plan.steps
        left = self._config.time - self.seconds - self.ending
        pure_speed = speed * (1 - EVALUATION_SHARE)  # budget_steps adds evaluation again
        return step + budget_steps(self._config, pure_speed, left, steps_per_epoch, step)

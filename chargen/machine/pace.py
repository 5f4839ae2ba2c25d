"""The number of threads with which work goes fastest just now.

How many threads are best depends on the size of the work and on what else the machine does: two
threads beside a program that needs one of two cores wait for each other most of the time, and one
thread on the free core is faster. Nobody tells a program so; it can only be timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

WINDOW = 0.1  # seconds of work that are timed together
PIECES = 8  # and pieces of work, at least
TRIED = 3  # pieces are enough in a trial
SLOWER = 1.3  # times the pace of before, or of the median piece: something disturbs
FASTER = 0.9  # of the present pace: worth changing for
CALM = 30  # windows between two trials that nothing calls for
LONGEST = 300.0  # seconds between two trials


class Pace:
    """Work in pieces that is kept at the fastest number of threads.

    Trials are real work: a window at another number of threads costs only what it is slower.
    There is one when work slows down or becomes uneven, from time to time while not all threads
    are used (the other program may have ended), and once for a number never timed. A trial that
    changes nothing doubles the time to the next one.

    Attributes:
        threads: to do the next piece with.
    """

    def __init__(
        self,
        options: tuple[int, ...],
        known: Mapping[int, float] | None = None,
        first: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with a number that is given, the fastest known one, or the largest.

        Args:
            options: numbers of threads to choose from, the largest first.
            known: seconds of a unit of work at some of them.
            first: one to begin with.
            clock: tells the time in seconds.
        """
        self._options, self._known = options, dict(known or {})
        fastest = min(self._known, key=lambda n: self._known[n], default=options[0])
        self.threads = first or fastest
        self._clock, self._tried, self._wait = clock, clock(), WINDOW
        self._trial: list[int] = []
        self._times: list[float] = []  # of a unit, a piece each
        self._seconds = 0.0  # of these pieces

    def took(self, seconds: float, units: float = 1.0) -> None:
        """Note how long a piece of work took at ``threads``.

        Args:
            seconds: its time.
            units: its size, where pieces differ.
        """
        if len(self._options) == 1:
            return
        self._times.append(seconds / units)
        self._seconds += seconds
        if self._trial:
            self._go_on_trying()
        elif len(self._times) >= PIECES and self._seconds >= WINDOW:
            self._look()
            self._begin_window()

    def _begin_window(self) -> None:
        self._times.clear()
        self._seconds = 0.0

    def _look(self) -> None:
        """Judge a window, and begin a trial where there is reason for one."""
        mean, median = statistics.fmean(self._times), statistics.median(self._times)
        before = self._known.get(self.threads, mean)
        disturbed = mean > SLOWER * min(before, median)
        open_question = self.threads != self._options[0] or len(self._known) < len(self._options)
        self._known[self.threads] = mean if disturbed else min(before, mean)
        calm_wait = max(self._wait, CALM * WINDOW)
        wait = self._wait if disturbed else calm_wait if open_question else float("inf")
        if self._clock() - self._tried >= wait:
            self._present = self.threads
            self._known[self.threads] = mean
            self._trial = [n for n in self._options if n != self.threads]
            self.threads = self._trial[0]

    def _go_on_trying(self) -> None:
        """Note a piece of a trial; at the end of it take the fastest."""
        if len(self._times) <= TRIED or self._seconds < WINDOW / 2:
            return
        self._known[self.threads] = statistics.fmean(self._times[1:])  # the first woke the threads
        self._begin_window()
        self._trial.pop(0)
        if self._trial:
            self.threads = self._trial[0]
            return
        fastest = min(self._known, key=lambda n: self._known[n])
        changed = self._known[fastest] < FASTER * self._known[self._present]
        self.threads = fastest if changed else self._present
        self._wait = 5 * WINDOW if changed else min(LONGEST, 2 * self._wait)
        self._tried = self._clock()

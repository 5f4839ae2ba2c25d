"""The number of threads with which work goes fastest just now.

How many threads are best depends on the size of the work and on what else the machine does: two
threads beside a program that needs one of two cores wait for each other most of the time, and one
thread on the free core is faster. Nobody tells a program so; it can only be timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

WINDOW = 0.1  # seconds of work that are timed together; twice as many in a trial
PIECES, TRIED = 8, 3  # pieces of work in a window, and in a trial, at least,
LARGE = 0.5  # unless so many seconds went into fewer
SLOWER = 1.3  # times the pace of before, or of the median piece: something disturbs
HOPELESS = 1.5  # times the present pace: a trial that is given up early
FAR = 4.0  # times that pace: even a first piece tells
FASTER = 0.9  # of the present pace: worth changing for
SOON, LATER = 0.1, 10.0  # seconds from one trial to the next where something disturbs
CALM, LONGEST = 3.0, 300.0  # and where nothing does


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
        self.threads = self._present = first or fastest
        self._clock, self._tried = clock, clock()
        self._wait, self._calm_wait = SOON, CALM
        self._trial: list[int] = []  # numbers still to be tried
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
            if self._is_tried():
                self._go_on_trying()
        elif (len(self._times) >= PIECES and self._seconds >= WINDOW) or self._is_large():
            self._look()

    def _look(self) -> None:
        """Judge a window, and begin a trial where there is reason for one."""
        mean, median = statistics.fmean(self._times), statistics.median(self._times)
        before = self._known.get(self.threads, mean)
        disturbed = mean > SLOWER * min(before, median)
        open_question = self.threads != self._options[0] or len(self._known) < len(self._options)
        wait = self._wait if disturbed else self._calm_wait
        self._known[self.threads] = min(before, mean)
        self._begin_window()
        if (disturbed or open_question) and self._clock() - self._tried >= wait:
            self._known[self.threads] = mean
            self._present = self.threads
            self._trial = [n for n in self._options if n != self.threads]
            self.threads = self._trial[0]

    def _begin_window(self) -> None:
        self._times.clear()
        self._seconds = 0.0

    def _is_tried(self) -> bool:
        """Tell whether a trial has lasted long enough; its first piece only wakes the threads."""
        times = self._times[1:]
        if self._seconds >= WINDOW and self._times[0] > FAR * self._known[self._present]:
            return True
        if not times or self._seconds < WINDOW:
            return False
        if statistics.fmean(times) > HOPELESS * self._known[self._present]:
            return True
        return (len(times) >= TRIED and self._seconds >= 2 * WINDOW) or self._is_large()

    def _is_large(self) -> bool:
        """Tell whether the pieces of work are so large that a few must do."""
        return len(self._times) >= 2 and self._seconds >= LARGE

    def _go_on_trying(self) -> None:
        """Note how a trial went; after the last one take the fastest number."""
        self._known[self.threads] = statistics.fmean(self._times[1:] or self._times)
        self._begin_window()
        self._trial.pop(0)
        if self._trial:
            self.threads = self._trial[0]
            return
        fastest = min(self._known, key=lambda n: self._known[n])
        changed = self._known[fastest] < FASTER * self._known[self._present]
        self.threads = fastest if changed else self._present
        self._wait = SOON if changed else min(LATER, 2 * self._wait)
        self._calm_wait = CALM if changed else min(LONGEST, 2 * self._calm_wait)
        self._tried = self._clock()

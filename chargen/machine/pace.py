"""Selection of the fastest number of threads, by timing the work while it runs.

The best number depends on the size of the work and on the load of the machine. On two cores, if
another program needs one of them, two threads wait for each other most of the time and one thread
is faster. The system does not report this, so it has to be measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

INTERVAL = 0.1  # seconds of work that are timed together; a trial takes twice as long
PIECES, TRIED = 8, 3  # fewest pieces of work in an interval, and in a trial,
LARGE = 0.5  # unless they took this many seconds
SLOWER = 1.3  # factor on the earlier time, or on the median, that indicates a disturbance
HOPELESS = 1.5  # factor on the current time at which a trial is stopped early
FAR = 4.0  # factor at which the first piece of a trial is enough to stop it
FASTER = 0.9  # factor at which a change is worthwhile
SOON, LATER = 0.1, 10.0  # first and longest time between trials under disturbance, in seconds
CALM, LONGEST = 3.0, 300.0  # the same without disturbance


class Pace:
    """Number of threads for work that comes in pieces.

    Trials are real work, so a trial with a slower number of threads wastes only the difference. A
    trial starts when the work slows down or becomes uneven. It also starts from time to time while
    not all threads are in use, because the other program may have ended, and once for each number
    that was never timed. A trial without a change doubles the time to the next one.

    Attributes:
        threads: number of threads for the next piece.
    """

    def __init__(
        self,
        options: tuple[int, ...],
        known: Mapping[int, float] | None = None,
        first: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with ``first``, the fastest known number or the largest.

        Args:
            options: numbers of threads to choose from, the largest first.
            known: seconds per unit of work for some of them.
            first: number to start with.
            clock: returns the time in seconds.
        """
        self._options, self._known = options, dict(known or {})
        fastest = min(self._known, key=lambda n: self._known[n], default=options[0])
        self.threads = self._present = first or fastest
        self._clock, self._tried = clock, clock()
        self._wait, self._calm_wait = SOON, CALM
        self._trial: list[int] = []  # numbers that remain to be tried
        self._times: list[float] = []  # seconds per unit, one entry per piece
        self._seconds = 0.0  # total of these pieces

    def took(self, seconds: float, units: float = 1.0) -> None:
        """Record the time of a piece of work with ``threads``.

        Args:
            seconds: time of the piece.
            units: size of the piece, if the sizes differ.
        """
        if len(self._options) == 1:
            return
        self._times.append(seconds / units)
        self._seconds += seconds
        if self._trial:
            if self._is_tried():
                self._go_on_trying()
        elif (len(self._times) >= PIECES and self._seconds >= INTERVAL) or self._is_large():
            self._look()

    def _look(self) -> None:
        """Evaluate an interval, and start a trial if there is a reason for one."""
        mean, median = statistics.fmean(self._times), statistics.median(self._times)
        before = self._known.get(self.threads, mean)
        disturbed = mean > SLOWER * min(before, median)
        incomplete = self.threads != self._options[0] or len(self._known) < len(self._options)
        wait = self._wait if disturbed else self._calm_wait
        self._known[self.threads] = min(before, mean)
        self._begin_interval()
        if (disturbed or incomplete) and self._clock() - self._tried >= wait:
            self._known[self.threads] = mean
            self._present = self.threads
            self._trial = [n for n in self._options if n != self.threads]
            self.threads = self._trial[0]

    def _begin_interval(self) -> None:
        self._times.clear()
        self._seconds = 0.0

    def _is_tried(self) -> bool:
        """Tell whether a trial is long enough; its first piece is a warm-up of the threads."""
        times = self._times[1:]
        if self._seconds >= INTERVAL and self._times[0] > FAR * self._known[self._present]:
            return True
        if not times or self._seconds < INTERVAL:
            return False
        if statistics.fmean(times) > HOPELESS * self._known[self._present]:
            return True
        return (len(times) >= TRIED and self._seconds >= 2 * INTERVAL) or self._is_large()

    def _is_large(self) -> bool:
        """Tell whether the pieces of work are so large that a few are enough."""
        return len(self._times) >= 2 and self._seconds >= LARGE

    def _go_on_trying(self) -> None:
        """Record the result of a trial; after the last one select the fastest number."""
        self._known[self.threads] = statistics.fmean(self._times[1:] or self._times)
        self._begin_interval()
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

"""Work stays at the fastest number of threads, on a machine that is made up."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from chargen.machine.pace import Pace

Machine = Callable[[float, int], float]
"""Seconds of a piece of work at a time, with so many threads."""


class Work:
    """Pieces of work on a machine whose clock is theirs."""

    def __init__(self, machine: Machine, options: tuple[int, ...] = (2, 1), **known: object):
        self.now, self.machine, self.used = 0.0, machine, dict.fromkeys(options, 0.0)
        self.changes = 0
        self.pace = Pace(options, clock=lambda: self.now, **known)  # type: ignore[arg-type]

    def until(self, end: float) -> float:
        """Work until a time; return the pieces done per second."""
        pieces, began = 0, self.now
        while self.now < end:
            threads = self.pace.threads
            seconds = self.machine(self.now, threads)
            self.now += seconds
            self.used[threads] += seconds
            self.pace.took(seconds)
            self.changes += self.pace.threads != threads
            pieces += 1
        return pieces / (self.now - began)


def idle(now: float, threads: int) -> float:
    return 0.02 / (0.8 * threads + 0.2)  # two threads are 1.8 times as fast


def busy(now: float, threads: int) -> float:
    return 0.02 if threads == 1 else 0.08


def test_an_idle_machine_is_left_alone() -> None:
    work = Work(idle, known={2: idle(0, 2), 1: idle(0, 1)})
    work.until(600)
    assert work.changes == 0
    assert work.pace.threads == 2


def test_what_was_never_timed_is_timed_once() -> None:
    work = Work(idle)
    rate = work.until(60)
    assert work.changes == 2
    assert rate > 0.99 / idle(0, 2)


def test_beside_another_program_one_thread_does_the_work() -> None:
    work = Work(busy, known={2: idle(0, 2), 1: idle(0, 1)})
    assert work.until(2) > 0.6 / 0.02
    assert work.until(30) > 0.95 / 0.02
    assert work.pace.threads == 1


def test_when_the_other_program_ends_all_threads_come_back() -> None:
    work = Work(
        lambda now, threads: busy(now, threads) if 10 < now < 30 else idle(now, threads),
        known={2: idle(0, 2), 1: idle(0, 1)},
    )
    work.until(29)
    assert work.pace.threads == 1
    work.until(55)
    assert work.pace.threads == 2


@pytest.mark.parametrize("every", [3, 9])
def test_unevenness_without_a_known_pace_is_noticed(every: int) -> None:
    count = iter(range(10**9))

    def stalls(now: float, threads: int) -> float:
        stalled = threads > 1 and next(count) % every == 0
        return 0.0003 + 0.004 * stalled + 0.0002 * (threads == 1)

    work = Work(stalls)
    work.until(1)
    assert work.pace.threads == 1


def test_a_machine_that_only_gets_slower_is_not_tried_again_and_again() -> None:
    work = Work(
        lambda now, threads: idle(now, threads) * (1 if now < 5 else 1.5),
        known={2: idle(0, 2), 1: idle(0, 1)},
    )
    work.until(600)
    assert work.pace.threads == 2
    assert work.used[1] < 10


def test_a_small_model_is_faster_with_one_thread_and_stays_there() -> None:
    work = Work(lambda now, threads: 0.0001 * threads, known={2: 0.0002, 1: 0.0001})
    rate = work.until(300)
    assert rate > 0.97 / 0.0001
    assert work.pace.threads == 1


def test_of_several_numbers_the_fastest_is_found() -> None:
    work = Work(lambda now, threads: 0.01 / min(threads, 4) + 0.001 * threads, (8, 7, 4, 1))
    work.until(30)
    assert work.pace.threads == 4


def test_one_number_alone_is_never_left() -> None:
    work = Work(lambda now, threads: 0.01 * (1 + 5 * (math.floor(now) % 2)), (3,))
    work.until(20)
    assert work.changes == 0


def test_a_run_goes_on_with_the_number_it_had() -> None:
    assert Pace((2, 1), {2: 0.1, 1: 0.2}, first=1).threads == 1
    assert Pace((2, 1), {2: 0.1, 1: 0.05}).threads == 1
    assert Pace((2, 1)).threads == 2

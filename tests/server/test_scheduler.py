"""Scheduler: streams side by side, slow and absent readers, work between steps, the end."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chargen.engine import State
from chargen.errors import ChargenError, ConfigError
from chargen.sampling.sampler import Sampler
from chargen.server.jobs import Busy, Chunk
from chargen.server.scheduler import WORK_SECONDS, Scheduler, Stream
from tests.server.small_model import alone, job, open_sampler

NOTHING = {"rows": 0, "reading": 0, "waiting": 0, "streams": 0, "scoring_tasks": 0}
ENDLESS = 10**9  # characters


@pytest.fixture(scope="module")
def sampler(trained: Path) -> Sampler:
    return open_sampler(trained / "small" / "model.safetensors")


class Gate:
    """An engine whose calls wait for a permit each while the gate is shut."""

    def __init__(self, sampler: Sampler) -> None:
        self.inner, self.calls = sampler.engine, 0
        self.entered = threading.Event()
        self.open, self.permits = threading.Event(), threading.Semaphore(0)

    def init_state(self, batch: int) -> State:
        return self.inner.init_state(batch)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        self.entered.set()
        if not self.open.is_set():
            assert self.permits.acquire(timeout=30)
        self.calls += 1
        return self.inner.run(ids, state)

    def release(self) -> None:
        self.open.set()
        self.permits.release()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test on an event loop of its own, for half a minute at most."""
    asyncio.run(asyncio.wait_for(main, 30))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(sampler: Sampler, **options: int) -> AsyncIterator[Scheduler]:
    """Run a scheduler; at the end nothing may be left in it."""
    scheduler = Scheduler(sampler, **options)
    try:
        yield scheduler
        await until(lambda: NOTHING.items() <= scheduler.facts().items())
    finally:
        await scheduler.close(0)
    assert "batch" not in [thread.name for thread in threading.enumerate()]


async def read(stream: Stream) -> list[tuple[str, str | None]]:
    """Return the texts of a stream with their finish reasons."""
    texts, reasons = dict[int, str](), dict[int, str | None]()
    async for chunk in stream:
        assert reasons.get(chunk.index) is None, "text behind the end"
        texts[chunk.index] = texts.get(chunk.index, "") + chunk.text
        reasons[chunk.index] = chunk.finish_reason
    return [(texts[index], reasons[index]) for index in sorted(texts)]


# -- streams ------------------------------------------------------------------------------


def test_streams_side_by_side_are_what_they_are_alone(sampler: Sampler) -> None:
    jobs = [job("The value of "[: n % 14], 1 + n % 3, seed=n, length=20 + n) for n in range(30)]

    async def main() -> None:
        async with serving(sampler, rows=8, queue=100) as scheduler:
            found = await asyncio.gather(*(read(scheduler.submit(wanted)) for wanted in jobs))
            assert found == [alone(sampler, wanted) for wanted in jobs]
            facts = scheduler.facts()
            assert facts["tokens"] == sum(len(t) for texts in found for t, _ in texts)
            assert facts["prompt_tokens"] == sum(len(wanted.prompt) for wanted in jobs)
            assert (facts["finished"], facts["cancelled"], facts["failed"]) == (30, 0, 0)

    run(main())


def test_a_stream_begins_before_it_ends(sampler: Sampler) -> None:
    async def main() -> None:
        async with serving(sampler) as scheduler:
            stream = scheduler.submit(job(length=ENDLESS))
            first = await anext(stream)
            assert (len(first.text), first.tokens, first.finish_reason) == (1, 1, None)
            assert len((await anext(stream)).text) > 0
            assert (stream.prompt_tokens, stream.left) == (4, 1)
            stream.cancel()

    run(main())


def test_an_empty_prompt_has_no_tokens(sampler: Sampler) -> None:
    async def main() -> None:
        async with serving(sampler) as scheduler:
            stream = scheduler.submit(job(""))
            assert stream.prompt_tokens == 0
            assert await read(stream) == alone(sampler, job(""))

    run(main())


def test_scores_of_the_prompt_are_there_with_the_first_chunk(sampler: Sampler) -> None:
    async def main() -> None:
        async with serving(sampler) as scheduler:
            stream = scheduler.submit(replace(job(), logprobs=2, echo=True))
            await anext(stream)
            assert "".join(score.text for score in stream.prompt_scores) == "The "
            await read(stream)

    run(main())


# -- who leaves, who is slow --------------------------------------------------------------


def test_a_stream_that_is_cancelled_frees_its_rows_at_once(sampler: Sampler) -> None:
    async def main() -> None:
        async with serving(sampler, rows=4, queue=2) as scheduler:
            many = scheduler.submit(job(count=4, length=ENDLESS))
            waiting = scheduler.submit(job(seed=2))
            await anext(many)
            assert scheduler.facts()["rows"] == 4
            many.cancel()
            assert await read(waiting) == alone(sampler, job(seed=2))
            many.cancel()  # again, and behind the end
            waiting.cancel()
            facts = scheduler.facts()
            assert (facts["cancelled"], facts["finished"]) == (1, 1)

    run(main())


def test_a_job_is_cancelled_while_it_waits_or_its_prompt_is_read(sampler: Sampler) -> None:
    gate = Gate(sampler)

    async def main() -> None:
        async with serving(Sampler(sampler.tokenizer, gate), rows=1, queue=1) as scheduler:
            reading = scheduler.submit(job("a" * 200_000))
            await until(gate.entered.is_set)
            waiting = scheduler.submit(job())
            reading.cancel()
            waiting.cancel()
            gate.release()
            await until(lambda: scheduler.facts()["rows"] == 0)
            assert gate.calls < 100  # of about 200 for the whole prompt

    run(main())


def test_a_slow_reader_gets_one_chunk_of_each_text(sampler: Sampler) -> None:
    wanted = replace(job(count=3, length=500), logprobs=0)

    async def main() -> None:
        async with serving(sampler) as scheduler:
            stream = scheduler.submit(wanted)
            await until(lambda: not scheduler.facts()["streams"])
            chunks = [chunk async for chunk in stream]
            assert sorted(chunk.index for chunk in chunks) == [0, 1, 2]
            expected = alone(sampler, wanted)
            for chunk in chunks:
                assert (chunk.text, chunk.finish_reason) == expected[chunk.index]
                assert chunk.tokens == len(chunk.scores) == 500

    run(main())


def test_no_row_is_lost_whoever_leaves_when(sampler: Sampler) -> None:
    rng = random.Random(1)

    async def client(scheduler: Scheduler, seed: int) -> None:
        await asyncio.sleep(rng.random() / 5)
        wanted = job("The value"[: rng.randrange(9)], rng.randrange(1, 4), seed=seed, length=300)
        stream, patience = scheduler.submit(wanted), rng.randrange(6)
        async for chunk in stream:
            patience -= 1
            if patience < 0 or chunk.finish_reason:
                break
        stream.cancel()

    async def main() -> None:
        async with serving(sampler, rows=7, queue=1000) as scheduler:
            await asyncio.gather(*(client(scheduler, seed) for seed in range(60)))
            facts = scheduler.facts()
            assert facts["finished"] + facts["cancelled"] == 60
            assert facts["cancelled"] > 10

    run(main())


def test_the_thread_ends_when_its_event_loop_is_gone(sampler: Sampler) -> None:
    async def main() -> None:
        await anext(Scheduler(sampler).submit(job(length=ENDLESS)))

    run(main())
    thread = next((t for t in threading.enumerate() if t.name == "batch"), None)
    if thread:
        thread.join(10)
        assert not thread.is_alive()


# -- limits and errors --------------------------------------------------------------------


def test_a_full_queue_is_busy(sampler: Sampler) -> None:
    gate = Gate(sampler)

    async def main() -> None:
        async with serving(Sampler(sampler.tokenizer, gate), rows=2, queue=3) as scheduler:
            streams = [scheduler.submit(job(seed=n)) for n in range(4)]
            with pytest.raises(Busy, match="busy; try again"):
                scheduler.submit(job(count=2))
            streams.append(scheduler.submit(job(seed=4)))
            with pytest.raises(Busy):
                scheduler.submit(job())
            gate.release()
            for seed, stream in enumerate(streams):
                assert await read(stream) == alone(sampler, job(seed=seed))
            assert len(await read(scheduler.submit(job(count=9)))) == 9  # more, but nobody else

    run(main())


def test_bad_settings_are_refused_at_once(sampler: Sampler) -> None:
    async def main() -> None:
        async with serving(sampler) as scheduler:
            with pytest.raises(ConfigError, match="logit-bias is '☃'"):
                scheduler.submit(job(logit_bias=(("☃", 1.0),)))
            with pytest.raises(ConfigError, match="rows is 0"):
                Scheduler(sampler, rows=0)
            with pytest.raises(ConfigError, match="queue is -1"):
                Scheduler(sampler, queue=-1)

    run(main())


def test_a_prepared_job_is_a_job(sampler: Sampler) -> None:
    wanted = replace(job(), words=("the", "value"))

    async def main() -> None:
        async with serving(sampler) as scheduler:
            entry = await asyncio.to_thread(scheduler.prepare, wanted)
            assert await read(scheduler.submit(entry)) == alone(sampler, wanted)

    run(main())


def test_a_failure_is_raised_in_its_stream_and_in_no_other(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chargen.sampling.constraints import Constraint

    def allowed(self: Constraint, state: Any, left: int) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(Constraint, "allowed", allowed)

    async def main() -> None:
        async with serving(sampler) as scheduler:
            good = [scheduler.submit(job(seed=n)) for n in range(3)]
            bad = scheduler.submit(replace(job(count=2), regex="a*"))
            with pytest.raises(ValueError, match="a bug"):
                await read(bad)
            assert await read(bad) == []
            for seed, stream in enumerate(good):
                assert await read(stream) == alone(sampler, job(seed=seed))
            assert scheduler.facts()["failed"] == 1

    run(main())


# -- work between the steps ---------------------------------------------------------------


def test_work_is_done_between_the_steps(sampler: Sampler) -> None:
    gate = Gate(sampler)
    calls = []

    def pieces(count: int) -> Iterator[int]:
        for number in range(count):
            calls.append(gate.calls)
            time.sleep(WORK_SECONDS)
            yield number

    async def main() -> None:
        async with serving(Sampler(sampler.tokenizer, gate)) as scheduler:
            gate.release()
            assert await scheduler.work(iter([1, 2])) == [1, 2]  # also when nothing else is there
            stream = scheduler.submit(job(length=ENDLESS))
            await anext(stream)
            first, second = await asyncio.gather(
                scheduler.work(pieces(5)), scheduler.work(pieces(3))
            )
            assert (first, second) == ([*range(5)], [*range(3)])
            assert len(calls) == len(set(calls)) == 8  # a step of the batch after each piece
            stream.cancel()

    run(main())


def test_work_that_fails_or_is_not_wanted_any_more(sampler: Sampler) -> None:
    taken = itertools.count()

    async def main() -> None:
        async with serving(sampler, queue=1) as scheduler:
            with pytest.raises(ZeroDivisionError):
                await scheduler.work(1 // n for n in (1, 0))
            endless = asyncio.ensure_future(scheduler.work(taken))
            await until(lambda: next(taken) > 100)
            with pytest.raises(Busy):
                await scheduler.work(iter([1]))
            endless.cancel()
            await asyncio.wait([endless])
            assert await scheduler.work(iter([1])) == [1]

    run(main())


# -- the end ------------------------------------------------------------------------------


def test_closing_finishes_what_is_begun_and_takes_nothing_new(sampler: Sampler) -> None:
    async def main() -> None:
        scheduler = Scheduler(sampler)
        stream = scheduler.submit(job(count=2))
        closing = asyncio.ensure_future(scheduler.close(20))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="closes and takes no more"):
            scheduler.submit(job())
        with pytest.raises(Busy, match="closes and takes no more"):
            await scheduler.work(iter([1]))
        assert await read(stream) == alone(sampler, job(count=2))
        await closing
        assert NOTHING.items() <= scheduler.facts().items()

    run(main())


def test_closing_cuts_what_takes_too_long(sampler: Sampler) -> None:
    async def main() -> None:
        scheduler = Scheduler(sampler, rows=1)
        streams = [scheduler.submit(job(length=ENDLESS)) for _ in range(3)]
        work = asyncio.ensure_future(scheduler.work(itertools.repeat(1)))
        first: Chunk = await anext(streams[0])
        assert first.text
        await scheduler.close(0.01)
        for awaited in (*map(read, streams), work):
            with pytest.raises(ChargenError, match="the server closed before this was finished"):
                await awaited
        assert NOTHING.items() <= scheduler.facts().items()
        await scheduler.close(1)  # again

    run(main())


def test_a_scheduler_without_any_job_closes(sampler: Sampler) -> None:
    run(Scheduler(sampler).close(1))

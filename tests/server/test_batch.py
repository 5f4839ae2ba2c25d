"""Batch of the server: joins and leaves, prompts in turns, scores, errors of single jobs."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chargen.config import SampleConfig
from chargen.engine import State
from chargen.errors import ConfigError
from chargen.sampling.sampler import PROMPT_CHUNK, Sampler
from chargen.server.batch import READ_SECONDS, READERS, Batch
from chargen.server.entries import Entries, Entry
from chargen.server.jobs import Chunk, TextJob
from tests.server.small_model import alone, job, open_sampler


@pytest.fixture(scope="module")
def sampler(trained: Path) -> Sampler:
    return open_sampler(trained / "small" / "model.safetensors")


class Recorded:
    """A batch with all that it has handed over: the chunks of each job, or its error."""

    def __init__(
        self, sampler: Sampler, rows: int = 8, clock: Callable[[], float] | None = None
    ) -> None:
        self.entries, self.rows = Entries(sampler), rows
        self.batch = Batch(sampler, rows, clock) if clock else Batch(sampler, rows)
        self.chunks: dict[Entry, list[Chunk]] = defaultdict(list)
        self.errors: dict[Entry, Exception] = {}

    def add(self, job: TextJob) -> Entry:
        entry = self.entries.make(job)
        self.batch.add(entry)
        return entry

    def step(self) -> None:
        for entry, news in self.batch.step():
            assert entry not in self.errors, "news of a job that had failed"
            if isinstance(news, Chunk):
                self.chunks[entry].append(news)
            else:
                self.errors[entry] = news

    def run(self) -> None:
        while not self.batch.is_idle:
            self.step()
        assert self.batch.used == len(self.batch.jobs) == 0

    def text(self, entry: Entry, index: int = 0) -> str:
        return "".join(chunk.text for chunk in self.chunks[entry] if chunk.index == index)

    def texts(self, entry: Entry) -> list[tuple[str, str]]:
        """Return the texts of a job with their finish reasons."""
        ends = {c.index: c.finish_reason for c in self.chunks[entry] if c.finish_reason}
        return [(self.text(entry, index), str(ends[index])) for index in sorted(ends)]


def steady(seconds: float) -> Callable[[], float]:
    """Return a clock on which every call of the engine takes so long."""
    ticks = itertools.count()
    return lambda: seconds * next(ticks)


# -- the same text whoever else is there --------------------------------------------------

PARAMETERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"top_k": 5, "stop": ("e", "th")},
    {"top_p": 0.9, "until": "line"},
    {"mirostat": 2},
    {"repeat_penalty": 1.3, "logit_bias": (("e", -2.0),)},
    {"dry_multiplier": 1.0},
]

jobs = st.builds(
    job,
    prompt=st.text("The value of a function.\n", max_size=60),
    count=st.integers(1, 3),
    seed=st.integers(0, 9),
    length=st.integers(0, 80),
).flatmap(
    lambda made: st.sampled_from(PARAMETERS).map(
        lambda more: replace(made, config=replace(made.config, **more))
    )
)


Plan = list[tuple[TextJob, int, int | None]]  # jobs, when they join, how much later they leave


def follow(record: Recorded, plan: Plan) -> tuple[set[Entry], list[Entry]]:
    """Run the jobs of a plan; return those that left, and all."""
    added, dropped = dict[int, Entry](), set[Entry]()
    for step in range(75):
        for number, (wanted, join, leave) in enumerate(plan):
            if step == join:
                added[number] = record.add(wanted)
            if leave is not None and step == join + leave:
                record.batch.drop(added[number])
                dropped.add(added[number])
        record.step()
        assert record.batch.used <= record.rows
    record.run()
    return dropped, [added[number] for number in range(len(plan))]


@given(
    plan=st.lists(
        st.tuples(jobs, st.integers(0, 30), st.none() | st.integers(0, 40)), min_size=1, max_size=6
    ),
    rows=st.integers(1, 6),
    chunk=st.integers(1, 20),
    pace=st.sampled_from(
        [9.0, 1e-6]
    ),  # seconds of a call: all is handed over at once, or at the end
)
@settings(max_examples=25, deadline=None)
def test_a_text_is_the_one_that_it_is_alone_whoever_joins_and_leaves(
    sampler: Sampler, plan: Plan, rows: int, chunk: int, pace: float
) -> None:
    record = Recorded(sampler, rows, steady(pace))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chargen.server.batch.FEWEST", chunk)
        dropped, added = follow(record, plan)
    for entry, (wanted, *_) in zip(added, plan, strict=True):
        expected = alone(sampler, wanted)
        if entry not in dropped:
            assert record.texts(entry) == expected
        for index, (text, _) in enumerate(expected):
            assert text.startswith(record.text(entry, index))


def test_constraints_hold_beside_other_texts(sampler: Sampler) -> None:
    record = Recorded(sampler)
    ruled = [
        replace(job(count=2), regex="[a-z ]{5,30}"),
        replace(job(seed=2), words=("the", "value", "of")),
    ]
    entries = [record.add(wanted) for wanted in [*ruled, job(seed=3)]]
    record.run()
    for entry, wanted in zip(entries, [*ruled, job(seed=3)], strict=True):
        assert record.texts(entry) == alone(sampler, wanted)


def test_texts_with_the_same_parameters_share_a_decoder(sampler: Sampler) -> None:
    entries = Entries(sampler)
    first = entries.make(job(seed=1))
    assert entries.make(job(seed=2, length=9, stop=("x",), until="line")).decoder is first.decoder
    assert entries.make(job(top_k=3)).decoder is not first.decoder
    by_row = job(frequency_penalty=1.0)  # what fails in one concerns no other job
    assert entries.make(by_row).decoder is not entries.make(by_row).decoder


def test_settings_are_refused_before_anything_is_read(sampler: Sampler) -> None:
    entries = Entries(sampler)
    with pytest.raises(ConfigError, match="logit-bias is '☃'"):
        entries.make(job(logit_bias=(("☃", 1.0),)))
    with pytest.raises(ConfigError, match="length is 3; allowed: 5 or more"):
        entries.make(replace(job(length=3), regex="[a-z]{5}"))


def test_a_text_has_its_tokens_at_most(sampler: Sampler) -> None:
    record = Recorded(sampler)
    (text, _), *_ = alone(sampler, job())
    limited = [record.add(replace(job(), max_tokens=count)) for count in (0, 1, 7, 40, 99)]
    held = record.add(replace(job(stop=(text[3:9] + "☃",)), max_tokens=5))  # may begin a stop
    record.run()
    for entry, count in zip(limited, (0, 1, 7, 40, 99), strict=True):
        assert record.texts(entry) == [(text[:count], "length")]
        assert sum(chunk.tokens for chunk in record.chunks[entry]) == min(count, 40)
    assert record.texts(held) == [(text[:5], "length")]


# -- prompts in turns ---------------------------------------------------------------------


class Counting:
    """An engine that counts its calls; the next token is always any of the others."""

    def __init__(self, sampler: Sampler) -> None:
        self.inner, self.sizes = sampler.engine, list[tuple[int, int]]()

    def init_state(self, batch: int) -> State:
        return self.inner.init_state(batch)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        self.sizes.append((ids.shape[0], ids.shape[1]))
        return self.inner.run(ids, state)


def test_nobody_waits_for_the_prompt_of_another(sampler: Sampler) -> None:
    engine = Counting(sampler)
    record = Recorded(Sampler(sampler.tokenizer, engine), clock=steady(2**-6))
    running = record.add(job(length=10_000))
    record.step()
    long = record.add(job("a" * 1000))
    short = [record.add(job("of ", seed=n)) for n in range(3)]
    steps = 0
    while long not in record.chunks:
        record.step()
        steps += 1
        assert sum(size == 1 for _, size in engine.sizes) == steps  # a token of texts in every step
    assert all(
        record.texts(entry) == alone(sampler, job("of ", seed=n)) for n, entry in enumerate(short)
    )
    chunks = [size for size in engine.sizes if size[1] > 1]
    assert max(steps for _, steps in chunks) <= 16
    assert max(rows for rows, _ in chunks) == 4  # prompts are read together, too
    record.batch.drop(running)
    record.run()
    assert record.texts(long) == alone(sampler, job("a" * 1000))


def test_a_chunk_takes_the_time_for_it(sampler: Sampler) -> None:
    engine = Counting(sampler)
    record = Recorded(Sampler(sampler.tokenizer, engine), clock=steady(2**-10))
    record.add(job("a" * 3000, length=0))
    record.run()
    sizes = [size for _, size in engine.sizes]
    assert sizes[:2] == [16, round((READ_SECONDS - 2**-10) * 2**10 * 16)]  # the rest of the time
    assert max(sizes) <= PROMPT_CHUNK
    assert sum(sizes) == 3000


def test_many_prompts_are_read_in_turns(sampler: Sampler) -> None:
    engine = Counting(sampler)
    record = Recorded(Sampler(sampler.tokenizer, engine), 40, clock=steady(2**-6))
    entries = [record.add(job("a" * 64, seed=n)) for n in range(3 * READERS)]
    for _ in range(6):
        record.step()
    assert {entry.read for entry in entries} == {32}
    assert {rows for rows, _ in engine.sizes} == {READERS}
    record.run()
    assert [record.texts(e) for e in entries[:3]] == [
        alone(sampler, job("a" * 64, seed=n)) for n in range(3)
    ]


def test_texts_of_one_job_and_other_jobs_get_rows_in_turns(sampler: Sampler) -> None:
    record = Recorded(sampler, rows=2)
    many = record.add(job(count=20, length=5))
    one = record.add(job(seed=7, length=5))
    while not record.texts(one):
        record.step()
    assert len(record.texts(many)) < 3
    record.run()
    assert record.texts(many) == alone(sampler, job(count=20, length=5))


# -- scores -------------------------------------------------------------------------------


def test_scores_are_those_of_the_sampler(sampler: Sampler) -> None:
    record = Recorded(sampler)
    wanted = TextJob("The value", SampleConfig(20, seed=1), 2, logprobs=3, echo=True)
    entry, other = record.add(wanted), record.add(job(seed=2))
    record.run()
    right = sampler.generate_batch("The value", 2, length=20, seed=1, logprobs=True)
    for number, text in enumerate(right):
        scores = [s for c in record.chunks[entry] if c.index == number for s in c.scores]
        assert [score.logprob for score in scores] == list(text.logprobs)
        assert [score.token for score in scores] == list(text.tokens)
        assert "".join(score.text for score in scores) == text.text
        for score in scores:
            assert len(score.best) == 3
            assert [p for _, p in score.best] == sorted((p for _, p in score.best), reverse=True)
            assert score.best[0][1] >= (score.logprob or 0.0)
    assert not any(chunk.scores for chunk in record.chunks[other])


def test_the_scores_of_a_prompt_are_those_of_one_pass(sampler: Sampler) -> None:
    record = Recorded(sampler, clock=steady(2**-6))  # in chunks of 16
    prompt = "The value of a function is what it returns."
    wanted = TextJob(prompt, SampleConfig(0), logprobs=2, echo=True)
    entry, empty = record.add(wanted), record.add(replace(wanted, prompt=""))
    record.run()
    scores = entry.prompt_scores
    assert "".join(score.text for score in scores) == prompt
    assert (scores[0].logprob, scores[0].best) == (None, [])
    for place in (1, 15, 16, 17, len(prompt) - 1):
        logits = sampler.read(prompt[:place]).logits.astype(np.float64)
        expected = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        assert scores[place].logprob == pytest.approx(expected[scores[place].token])
        assert scores[place].best[0][1] == pytest.approx(expected.max())
    assert empty.prompt_scores == []
    assert record.texts(empty) == [("", "length")]


# -- errors of single jobs ----------------------------------------------------------------


class Failing:
    """An engine that fails in some calls, counted from 1."""

    def __init__(self, sampler: Sampler, *calls: int) -> None:
        self.inner, self.left, self.calls = sampler.engine, itertools.count(1), calls

    def init_state(self, batch: int) -> State:
        return self.inner.init_state(batch)

    def run(self, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        if next(self.left) in self.calls:
            raise MemoryError
        return self.inner.run(ids, state)


def test_a_constraint_that_fails_ends_its_own_text(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chargen.sampling.constraints import Constraint

    calls = itertools.count()

    def advance(self: Constraint, state: Any, token: int) -> Any:
        if next(calls) == 3:
            raise ValueError("a bug")
        return advance_really(self, state, token)

    advance_really = Constraint.advance
    monkeypatch.setattr(Constraint, "advance", advance)
    record = Recorded(sampler)
    good = [record.add(job(seed=n)) for n in range(3)]
    bad = record.add(replace(job(count=3), regex="[a-z ]*"))
    record.run()
    assert str(record.errors[bad]) == "a bug"
    assert set(record.errors) == {bad}
    assert [record.texts(e) for e in good] == [alone(sampler, job(seed=n)) for n in range(3)]


def test_a_text_that_cannot_be_decoded_ends_alone(sampler: Sampler) -> None:
    record = Recorded(sampler)
    good, bad = record.add(job()), record.add(job(seed=2))

    def append(token: int, now: float) -> None:
        raise ValueError("a bug")

    record.step()
    text = next(text for text in record.batch.texts if text.entry is bad)
    text.append = append  # type: ignore[method-assign]
    record.run()
    assert set(record.errors) == {bad}
    assert record.texts(good) == alone(sampler, job())


def test_a_prompt_that_cannot_be_read_ends_its_job(sampler: Sampler) -> None:
    record = Recorded(Sampler(sampler.tokenizer, Failing(sampler, 3)))
    good = record.add(job())
    record.step()
    bad = record.add(job("Another"))
    record.run()
    assert set(record.errors) == {bad}
    assert record.texts(good) == alone(sampler, job())


def test_a_call_that_fails_ends_its_texts_and_the_batch_goes_on(sampler: Sampler) -> None:
    record = Recorded(Sampler(sampler.tokenizer, Failing(sampler, 4)), rows=2)
    bad = [record.add(job(count=2)), record.add(job(seed=2))]
    good = record.add(job(seed=3))
    record.run()
    assert isinstance(record.errors[bad[0]], MemoryError)
    assert good not in record.errors
    assert record.texts(good) == alone(sampler, job(seed=3))


def test_a_bug_of_the_batch_leaves_no_job_hanging(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorded(sampler, rows=1)
    entries = [record.add(job()), record.add(job(seed=2))]
    record.step()
    with monkeypatch.context() as broken:
        broken.setattr(record.batch, "_admit", lambda: 1 / 0)
        record.step()
    assert set(record.errors) == set(entries)
    after = record.add(job())
    record.run()
    assert record.texts(after) == alone(sampler, job())

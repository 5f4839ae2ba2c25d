"""Batch of a server: prompts that are read and texts that are generated, step by step.

A step reads one token of every text in one call of the engine, and chunks of prompts for a few
milliseconds. Texts join and leave at any step, and none waits for the prompt of another. In
float32 an LSTM or a GRU computes each row bit for bit as it does alone, whatever the sizes of the
chunks are: a text with a seed does not depend on the others.

Legend of shapes: B rows, T tokens of a chunk, V vocabulary.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import numpy as np

from chargen.engine import Logits, State
from chargen.sampling.decoding import Decoder, Sample
from chargen.sampling.filters import Tokens
from chargen.sampling.rows import Rows
from chargen.sampling.sampler import PROMPT_CHUNK, Sampler
from chargen.server.entries import Entry
from chargen.server.jobs import Chunk, TokenScore
from chargen.server.scores import first_score, token_scores

READ_SECONDS = 0.008  # of a step in which prompts are read; 64 texts take about 2 ms
READERS = 8  # prompts read in one call: eight take hardly longer than one
FEWEST = 16  # tokens of a chunk, also before the pace is known
SHORTEST = 1e-6  # seconds of a call, where the clock is coarse
PAUSE = 0.04  # seconds between two chunks of a text: each costs the server as much as some tokens

Event = tuple[Entry, Chunk | Exception]


class JobText:
    """A text of a job while it is generated, with what was not handed over yet.

    Attributes:
        entry: the job.
        sample: the text.
        scores: of the tokens that were not handed over, where they are asked for.
    """

    def __init__(self, entry: Entry, sample: Sample) -> None:
        self.entry, self.sample = entry, sample
        self.scores: list[TokenScore] = []
        self._tokens: list[int] = []  # not decoded yet
        self._pieces: list[str] = []
        self._count = 0  # of the tokens that were not handed over, as far as they are decoded
        self._due = 0.0  # the first piece is handed over at once
        self._steps = self._steps_at_once()

    def _steps_at_once(self) -> int:
        """Return how many tokens may be decoded together: decoding takes as long as sampling."""
        steps, most = self.entry.decoder.steps_at_once([self.sample]), self.entry.job.max_tokens
        return steps if most is None else max(1, min(steps, most - len(self.sample.tokens)))

    def append(self, token: int, now: float) -> Chunk | None:
        """Append the next token; return the new text if it is time to hand it over."""
        self._tokens.append(token)
        if len(self._tokens) < self._steps and now < self._due:
            return None
        self._decode()
        return self.chunk(now)

    def _decode(self) -> None:
        self._pieces.append(self.sample.append(self._tokens))
        self._count += sum(token >= 0 for token in self._tokens)
        self._tokens = []
        full = len(self.sample.tokens) == self.entry.job.max_tokens
        if full and self.sample.finish_reason is None:
            self._pieces.append(self.sample.end())
        self._steps = self._steps_at_once()

    def chunk(self, now: float) -> Chunk | None:
        """Return the new text if it is time to hand it over, and there is any, or it is the end."""
        reason, text = self.sample.finish_reason, "".join(self._pieces)
        if reason is None and (now < self._due or not text):
            return None
        chunk = Chunk(self.sample.number, text, self._count, self.scores, reason)
        self._pieces, self.scores, self._count = [], [], 0
        self._due = now + PAUSE
        return chunk


class Batch:
    """The jobs of a model, in turns.

    Args:
        sampler: the model.
        rows: prompts and texts in the engine at the same time.
        clock: returns the time in seconds.

    Attributes:
        jobs: all that are not finished.
        waiting: jobs of which a text waits for a row, the next one first.
        reading: jobs with a prompt that is read.
        texts: texts that are generated, one per row of the engine.
    """

    def __init__(
        self, sampler: Sampler, rows: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._sampler, self._limit, self._clock = sampler, rows, clock
        self._clear()
        self._paces: dict[int, float] = {}  # seconds per token of a chunk, by the number of prompts
        self._events: list[Event] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.waiting or self.reading or self.texts)

    @property
    def used(self) -> int:
        """Number of rows in use."""
        return len(self.reading) + len(self.texts)

    def add(self, entry: Entry) -> None:
        """Add a job to those that wait."""
        self.jobs.add(entry)
        self.waiting.append(entry)

    def drop(self, entry: Entry) -> None:
        """Drop a job with all that it has in the batch."""
        self.jobs.discard(entry)
        for queue in (self.waiting, self.reading):
            if entry in queue:
                queue.remove(entry)
        self._keep(lambda text: text.entry is not entry)

    def step(self) -> list[Event]:
        """Do one step; return the new chunks, and the error of each job that failed and is out."""
        self._events = []
        try:
            self._step()
        except Exception as error:  # a bug of ours: the jobs end, but none of them hangs
            for entry in list(self.jobs):
                self._fail(entry, error)
            self._clear()
        return self._events

    def _clear(self) -> None:
        """Drop everything."""
        self.jobs, self.waiting, self.reading = set[Entry](), deque[Entry](), deque[Entry]()
        self.texts, self._groups = list[JobText](), list[tuple[Decoder, list[int]]]()
        self._rows = Rows(self._sampler.engine)

    def _step(self) -> None:
        self._run()
        self._admit()
        self._read_prompts()
        self._admit()
        if self.texts:
            self._select()
            self._keep(lambda text: text.sample.finish_reason is None and not text.entry.failed)

    def _admit(self) -> None:
        """Give free rows to jobs that wait, in turns: to read the prompt, or for the next text."""
        states, logits = list[State](), list[Logits]()
        while self.waiting and self.used < self._limit:
            entry = self.waiting.popleft()
            if entry.unread:
                self.reading.append(entry)
            elif self._start(entry):
                states.append(entry.state)
                logits.append(entry.logits)
        if states:
            self._rows.join(states, logits)
            self._group()

    # -- prompts ------------------------------------------------------------------------------

    def _read_prompts(self) -> None:
        """Read chunks of the next prompts in the time for it; short ones end together soon."""
        left = READ_SECONDS
        while self.reading and left > 0:
            left -= self._read(left)

    def _read(self, seconds: float) -> float:
        """Read a chunk of the next prompts in about this time; return how long it took."""
        entries = list(islice(self.reading, READERS))
        steps = min(self._chunk(len(entries), seconds), *(entry.unread for entry in entries))
        began = self._clock()
        try:
            self._read_chunk(entries, steps)
        except Exception as error:
            for entry in entries:
                self._fail(entry, error)
        took = max(SHORTEST, self._clock() - began)
        self._paces[len(entries)] = took / steps
        self.reading.rotate(-len(entries))
        self.waiting.extendleft(e for e in reversed(entries) if not (e.unread or e.failed))
        self.reading = deque(e for e in self.reading if e.unread and not e.failed)
        return took

    def _chunk(self, count: int, seconds: float) -> int:
        """Return how many tokens of so many prompts are read in a time."""
        known = min(self._paces, key=lambda other: abs(other - count), default=None)
        if known is None:
            return FEWEST
        pace = self._paces[known] * max(1.0, count / known)
        return max(FEWEST, min(PROMPT_CHUNK, round(seconds / pace)))

    def _read_chunk(self, entries: list[Entry], steps: int) -> None:
        ids = np.stack([entry.ids[entry.read : entry.read + steps] for entry in entries])  # (B, T)
        parts = zip(*(entry.state for entry in entries), strict=True)
        state = tuple(np.concatenate(part, axis=1) for part in parts)
        out, state = self._sampler.engine.run(ids.astype(np.int64), state)  # (B, T, V)
        for row, entry in enumerate(entries):
            if entry.job.echo and entry.job.logprobs is not None and entry.job.prompt:
                self._echo(entry, out[row])
            entry.read += steps
            entry.state = tuple(part[:, row : row + 1] for part in state)
            entry.logits = out[row, -1].copy()  # a view would keep all of them

    def _echo(self, entry: Entry, logits: Logits) -> None:
        """Score the tokens that the logits (T, V) of a chunk of the prompt predict."""
        tokenizer, count = self._sampler.tokenizer, entry.job.logprobs or 0
        if not entry.read and not entry.begins:
            entry.prompt_scores.append(first_score(tokenizer, int(entry.ids[0])))
        tokens = entry.ids[entry.read + 1 : entry.read + 1 + len(logits)].tolist()
        entry.prompt_scores += token_scores(tokenizer, logits[: len(tokens)], tokens, count)

    # -- texts --------------------------------------------------------------------------------

    def _run(self) -> None:
        """Run the engine on the last tokens; a failure is one of all texts."""
        try:
            self._rows.logits()
        except Exception as error:
            for text in self.texts:
                self._fail(text.entry, error)
            self._keep(lambda text: False)

    def _start(self, entry: Entry) -> bool:
        """Start the next text of a job; tell whether it needs a row. The others wait again."""
        text = JobText(entry, entry.samples.popleft())
        if entry.samples:
            self.waiting.append(entry)
        if text.sample.finish_reason:  # it has no length
            self._hand_over(text, text.chunk(self._clock()))
            return False
        self.texts.append(text)
        return True

    def _group(self) -> None:
        """Group the rows by their decoder."""
        groups: dict[Decoder, list[int]] = {}
        for row, text in enumerate(self.texts):
            groups.setdefault(text.entry.decoder, []).append(row)
        self._groups = list(groups.items())

    def _select(self) -> None:
        """Select the next token of every text."""
        logits = self._rows.logits()
        tokens = np.zeros(len(self.texts), np.int64)
        for decoder, rows in self._groups:
            try:
                samples = [self.texts[row].sample for row in rows]
                tokens[rows] = decoder.next_tokens(logits[rows], samples)
            except Exception as error:
                for row in rows:
                    self._fail(self.texts[row].entry, error)
        self._score(logits, tokens)
        self._rows.last = tokens
        now = self._clock()
        for text, token in zip(self.texts, tokens.tolist(), strict=True):
            if not text.entry.failed:
                self._append(text, token, now)

    def _score(self, logits: Logits, tokens: Tokens) -> None:
        """Score the tokens of the texts for which scores are asked."""
        for row, text in enumerate(self.texts):
            count = text.entry.job.logprobs
            if count is not None and tokens[row] >= 0:
                found = token_scores(
                    self._sampler.tokenizer, logits[row : row + 1], [int(tokens[row])], count
                )
                text.scores += found

    def _append(self, text: JobText, token: int, now: float) -> None:
        """Append a token to a text."""
        try:
            chunk = text.append(token, now)
        except Exception as error:
            self._fail(text.entry, error)
        else:
            self._hand_over(text, chunk)

    def _hand_over(self, text: JobText, chunk: Chunk | None) -> None:
        """Hand over the new text, if there is any."""
        if chunk:
            self._events.append((text.entry, chunk))
            text.entry.left -= chunk.finish_reason is not None
            if not text.entry.left:
                self.jobs.discard(text.entry)

    def _fail(self, entry: Entry, error: Exception) -> None:
        """End a job with an error; its rows are dropped at the end of the step."""
        if not entry.failed:
            entry.failed = True
            self.jobs.discard(entry)
            self._events.append((entry, error))
            if entry in self.waiting:
                self.waiting.remove(entry)

    def _keep(self, is_kept: Callable[[JobText], bool]) -> None:
        """Drop the rows of the other texts."""
        rows = [row for row, text in enumerate(self.texts) if is_kept(text)]
        if len(rows) < len(self.texts):
            self._rows.keep(rows)
            self.texts = [self.texts[row] for row in rows]
            self._group()

"""Scheduler: one thread runs the batch of a model, asyncio code hands in jobs and reads texts.

The thread never waits for a reader: what a reader has not taken yet is merged into one chunk for
each of its texts. After a step it makes one call to the event loop for all streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from chargen.config import require, require_count
from chargen.errors import ChargenError
from chargen.sampling.sampler import Sampler
from chargen.server.batch import Batch, Event
from chargen.server.entries import Entries, Entry
from chargen.server.jobs import Busy, Chunk, TextJob, TokenScore

T = TypeVar("T")

BUSY = "the server is busy; try again in a moment"
CLOSED = "the server closes and takes no more requests; try again when it runs"
WORK_SECONDS = 0.005  # between two steps; what a piece takes beyond it is not known before
CUT = "the server closed before this was finished; try again when it runs"


class Stream:
    """The chunks of a job, an asynchronous iterator.

    Attributes:
        prompt_tokens: number of tokens of the prompt.
        left: number of texts that are not finished.
    """

    def __init__(self, entry: Entry, cancel: Callable[[], None]) -> None:
        self.prompt_tokens = len(entry.ids) - entry.begins if entry.job.prompt else 0
        self.left = entry.job.count
        self.cancel = cancel
        self._entry = entry
        self._chunks: dict[int, Chunk] = {}  # not read yet, one for each text
        self._error: Exception | None = None
        self._news = asyncio.Event()

    @property
    def prompt_scores(self) -> list[TokenScore]:
        """Scores of the tokens of the prompt, for a job with echo; whole with the first chunk."""
        return self._entry.prompt_scores

    def push(self, news: Chunk | Exception) -> None:
        """Add a chunk, or the error that ends the stream."""
        if isinstance(news, Exception):
            self._error, self.left = news, 0
        else:
            before = self._chunks.get(news.index)
            self._chunks[news.index] = before.merged(news) if before else news
            self.left -= news.finish_reason is not None
        self._news.set()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Chunk:
        """Return the next chunk.

        Raises:
            ChargenError: the job failed, or the server closes.
        """
        while not self._chunks:
            if error := self._error:
                self._error = None
                raise error
            if not self.left:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._chunks.pop(next(iter(self._chunks)))


@dataclass(eq=False)
class _Work:
    """An iterator that runs the model, with the items that it gave."""

    pieces: Iterator[Any]
    result: asyncio.Future[list[Any]]
    items: list[Any] = field(default_factory=list)

    def settle(self, error: Exception | None) -> None:
        """Tell who waits for the result, if anybody does."""
        if self.result.done():
            return
        if error:
            self.result.set_exception(error)
        else:
            self.result.set_result(self.items)


class Scheduler:
    """Generates the texts of many clients in one batch.

    Its methods belong to one event loop; only ``prepare`` may be called in any thread.

    Args:
        sampler: the model, which nothing else uses.
        rows: prompts and texts in the engine at the same time.
        queue: texts that may wait for a row.
    """

    def __init__(self, sampler: Sampler, *, rows: int = 64, queue: int = 64) -> None:
        require_count("rows", rows)
        require(queue >= 0, "queue", queue, "0 or more texts")
        self._entries, self._batch = Entries(sampler), Batch(sampler, rows)
        self._rows, self._queue = rows, queue
        self._streams: dict[Entry, Stream] = {}
        self._counts: Counter[str] = Counter()
        self._works: deque[_Work] = deque()  # of the thread
        self._working = 0  # of the event loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="batch", daemon=True)
        self._inbox: deque[Callable[[], None]] = deque()
        self._asked = threading.Condition()
        self._idle, self._closed, self._ended = asyncio.Event(), False, False
        self._idle.set()

    # -- the side of the event loop -----------------------------------------------------------

    def prepare(self, job: TextJob) -> Entry:
        """Check a job, in any thread: a constraint of many words takes half a second.

        Raises:
            ConfigError: a setting is not possible with this model.
            TokenizerError: the prompt holds a lone surrogate.
        """
        return self._entries.make(job)

    def submit(self, job: TextJob | Entry) -> Stream:
        """Hand in a job, as it is or prepared.

        Raises:
            Busy: the queue is full, or the server closes.
            ConfigError: a setting is not possible with this model.
            TokenizerError: the prompt holds a lone surrogate.
        """
        texts = job.count if isinstance(job, TextJob) else job.job.count
        open_texts = sum(stream.left for stream in self._streams.values())
        self._check(not open_texts or open_texts + texts <= self._rows + self._queue)
        entry = self.prepare(job) if isinstance(job, TextJob) else job
        stream = self._streams[entry] = Stream(entry, partial(self._cancel, entry))
        self._idle.clear()
        self._ask(partial(self._batch.add, entry))
        return stream

    async def work(self, pieces: Iterator[T]) -> list[T]:
        """Return the items of an iterator that runs the model, a few items between two steps.

        Raises:
            Busy: too much work waits, or the server closes.
            ChargenError: the server closed before the end.
        """
        self._check(self._working < max(1, self._queue))
        work = _Work(pieces, asyncio.get_running_loop().create_future())
        self._working += 1
        self._idle.clear()
        self._ask(partial(self._works.append, work))
        try:
            return await work.result
        finally:
            self._working -= 1
            self._note_idle()

    def facts(self) -> dict[str, int]:
        """Return how many rows are in use, and counts since the start.

        ``rows``, ``reading`` of them, ``waiting`` jobs, ``streams``, ``scoring_tasks``; then
        ``tokens``, ``prompt_tokens``, ``finished``, ``cancelled`` and ``failed`` jobs in total.
        """
        batch = self._batch
        now = {"rows": batch.used, "reading": len(batch.reading), "waiting": len(batch.waiting)}
        now |= {"streams": len(self._streams), "scoring_tasks": self._working}
        names = ("tokens", "prompt_tokens", "finished", "cancelled", "failed")
        return now | {name: self._counts[name] for name in names}

    async def close(self, seconds: float) -> None:
        """Finish the streams within a time, then cut them; refuse jobs from now on."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        for entry in list(self._streams):
            self._deliver([(entry, ChargenError(CUT))])
        if self._loop:
            self._ask(self._end)
            await asyncio.to_thread(self._thread.join)

    def _check(self, has_room: bool) -> None:
        if self._closed:
            raise Busy(CLOSED)
        if not has_room:
            raise Busy(BUSY)

    def _ask(self, action: Callable[[], None]) -> None:
        """Let the thread do something before its next step."""
        with self._asked:
            self._inbox.append(action)
            self._asked.notify()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread.start()

    def _cancel(self, entry: Entry) -> None:
        """Drop a job, unless it is finished."""
        if self._streams.pop(entry, None):
            self._counts["cancelled"] += 1
            self._ask(partial(self._batch.drop, entry))
            self._note_idle()

    def _deliver(self, events: list[Event]) -> None:
        """Hand news to their streams; those of a cancelled job are of no use."""
        for entry, news in events:
            if stream := self._streams.get(entry):
                stream.push(news)
                self._count(stream, news)
                if not stream.left:
                    del self._streams[entry]
        self._note_idle()

    def _count(self, stream: Stream, news: Chunk | Exception) -> None:
        self._counts["tokens"] += 0 if isinstance(news, Exception) else news.tokens
        if not stream.left:
            self._counts["prompt_tokens"] += stream.prompt_tokens
            self._counts["failed" if isinstance(news, Exception) else "finished"] += 1

    def _note_idle(self) -> None:
        if not self._streams and not self._working:
            self._idle.set()

    # -- the side of the thread ---------------------------------------------------------------

    def _run(self) -> None:
        """Run the batch until the end."""
        while not self._ended:
            self._do_what_was_asked()
            if events := self._batch.step():
                self._tell(partial(self._deliver, events))
            end = time.perf_counter() + WORK_SECONDS
            while self._works and time.perf_counter() < end:
                self._work(self._works.popleft())

    def _do_what_was_asked(self) -> None:
        """Take what the event loop asks for; wait for it while there is nothing else to do."""
        with self._asked:
            while not (self._inbox or self._works) and self._batch.is_idle:
                self._asked.wait()
            actions, self._inbox = self._inbox, deque()
        for action in actions:
            action()

    def _work(self, work: _Work) -> None:
        """Take an item of an iterator; the next one waits for its turn."""
        try:
            if not work.result.cancelled():
                work.items.append(next(work.pieces))
                self._works.append(work)
        except StopIteration:
            self._tell(partial(work.settle, None))
        except Exception as error:
            self._tell(partial(work.settle, error))

    def _end(self) -> None:
        """Cut what is left; the thread ends."""
        for entry in list(self._batch.jobs):
            self._batch.drop(entry)
        for work in self._works:
            self._tell(partial(work.settle, ChargenError(CUT)))
        self._works.clear()
        self._ended = True

    def _tell(self, action: Callable[[], object]) -> None:
        """Let the event loop do something; if it has ended, nobody reads and the thread ends."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:
            self._ended = True

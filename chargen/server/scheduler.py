"""Scheduler: one thread runs the batch of a model, asyncio code hands in jobs and reads texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from chargen.sampling.sampler import Sampler
from chargen.server.jobs import Busy, Chunk, TextJob, TokenScore

__all__ = ["Busy", "Chunk", "Scheduler", "Stream", "TextJob", "TokenScore"]

T = TypeVar("T")


class Stream:
    """The chunks of a job, an asynchronous iterator.

    Attributes:
        prompt_tokens: number of tokens of the prompt.
        prompt_scores: of the tokens of the prompt, once the first chunk is there; for a job with
            echo.
    """

    prompt_tokens: int
    prompt_scores: list[TokenScore]

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Chunk:
        """Return the next chunk.

        Raises:
            ChargenError: the job failed, or the server closes.
        """
        raise NotImplementedError

    def cancel(self) -> None:
        """Drop the job; its rows are free from the next step on. It may be called at any time."""
        raise NotImplementedError


class Scheduler:
    """Generates the texts of many clients in one batch.

    Args:
        sampler: the model.
        rows: texts generated at the same time.
        queue: jobs that may wait for a row.
    """

    def __init__(self, sampler: Sampler, *, rows: int = 64, queue: int = 64) -> None:
        raise NotImplementedError

    def submit(self, job: TextJob) -> Stream:
        """Hand in a job.

        Raises:
            Busy: the queue is full.
            ConfigError: a setting is not possible with this model.
            TokenizerError: the prompt holds a lone surrogate.
        """
        raise NotImplementedError

    async def work(self, pieces: Iterator[T]) -> list[T]:
        """Return the items of an iterator that runs the model, one item between two steps."""
        raise NotImplementedError

    def facts(self) -> dict[str, int]:
        """Return what the batch does: rows in use, jobs that wait, tokens generated."""
        raise NotImplementedError

    async def close(self, seconds: float) -> None:
        """Finish the streams within a time, then cut them; refuse jobs from now on."""
        raise NotImplementedError

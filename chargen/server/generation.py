"""Generation for requests: from their fields to jobs, and from the chunks of jobs to texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from typing import Any

from chargen.config import SampleConfig, fresh_seed
from chargen.sampling.records import MOST, Label, as_prompt
from chargen.sampling.sampler import Sampler
from chargen.server.errors import RequestError
from chargen.server.forms import SPECIAL
from chargen.server.jobs import Chunk, TextJob, TokenScore
from chargen.server.library import Loaded
from chargen.server.scheduler import Scheduler, Stream
from chargen.storage.checkpoint import COPIES
from chargen.tokenizers import Tokenizer

OWN = [field.name for field in fields(SampleConfig) if field.name not in SPECIAL]
RULES = ("regex", "words", "no_copy")
REASONS = {"complete": "stop", "dead_end": "content_filter"}  # others are OpenAI's


@dataclass(frozen=True)
class Settings:
    """What a request asks for, except the prompts.

    Attributes:
        config: sampling parameters.
        max_tokens: tokens of a text at most; None where characters count alone.
        count: texts after each prompt.
        logprobs: likeliest tokens that come with each; None for no scores.
        echo: return the prompt too.
        rules: constraints, as ``TextJob`` has them.
        label: of the texts; None for no label.
    """

    config: SampleConfig
    max_tokens: int | None
    count: int
    logprobs: int | None
    echo: bool
    rules: dict[str, Any]
    label: Label | None = None


@dataclass
class Text:
    """A generated text as it grows.

    Attributes:
        number: index among all texts of the request.
        start: characters of the prompt before it; 0 where the text begins with the prompt.
        text: so far.
        scores: of its tokens, if asked for; those of the prompt first, where it is echoed.
        finish_reason: in OpenAI's words, once it is finished.
    """

    number: int
    start: int
    text: str = ""
    scores: list[TokenScore] | None = None
    finish_reason: str | None = None


def settings_of(given: dict[str, Any], sampler: Sampler, most: int) -> Settings:
    """Return the settings of a request.

    Args:
        given: its fields.
        sampler: the model.
        most: characters of a text for which nothing is given, if that is less than usual.

    Raises:
        ConfigError: a sampling parameter is out of its range.
        RequestError: a bias is not one of a token.
    """
    tokenizer, usual = sampler.tokenizer, MOST if sampler.reading.end else SampleConfig.length
    longest = min(limits_of(given), default=min(usual, most))
    max_tokens = None
    if tokenizer.kind != "char" and "max_tokens" in given:
        max_tokens = given["max_tokens"]
        longest = given.get("max_chars", max_tokens * max(map(len, tokenizer.pieces)))
    seed = given.get("seed", -1)
    config = SampleConfig(
        length=longest,
        seed=fresh_seed() if seed < 0 else seed,
        stop=given.get("stop", ()),
        logit_bias=_biases(given.get("logit_bias", {}), tokenizer),
        **{name: given[name] for name in OWN if name in given},
    )
    rules: dict[str, Any] = {name: given[name] for name in RULES if name in given}
    count, logprobs = given.get("n", 1), given.get("logprobs")
    echo, label = given.get("echo", False), given.get("label")
    return Settings(config, max_tokens, count, logprobs, echo, rules, label)


def limits_of(given: dict[str, Any]) -> list[int]:
    """Return the limits on the length of a text that a request gives."""
    return [given[name] for name in ("max_tokens", "max_chars") if name in given]


def _biases(given: dict[str, float], tokenizer: Tokenizer) -> tuple[tuple[str, float], ...]:
    """Return biases by token id as biases by character."""
    return tuple((_character(key, tokenizer), float(value)) for key, value in given.items())


def _character(key: str, tokenizer: Tokenizer) -> str:
    if not (key.isascii() and key.isdigit() and len(key) <= 9):
        raise _no_token(key, f"ids from 0 to {tokenizer.vocab_size - 1}")
    token = int(key)
    text = tokenizer.texts[token] if token < tokenizer.vocab_size else None
    if text is None or len(text) != 1 or token in tokenizer.never_sampled:
        raise _no_token(key, "the ids of tokens that are one character, as in /v1/next")
    return text


def _no_token(key: str, allowed: str) -> RequestError:
    words = f"logit_bias has the key {key[:40]!r}; allowed: {allowed}"
    return RequestError(400, words, param="logit_bias")


class Generation:
    """The texts of a request.

    Args:
        loaded: the model.
        prompts: of the texts; each is read once.
        settings: what is asked for.

    Attributes:
        prompts: as the model reads them.
        settings: what is asked for.
        tokens: generated so far, of all texts together.

    Raises:
        RequestError: the model has no index of its text.
        ConfigError: a prompt holds the end of a record.
        TokenizerError: a prompt holds a lone surrogate.
    """

    def __init__(self, loaded: Loaded, prompts: list[str], settings: Settings) -> None:
        reading = loaded.sampler.reading
        self.settings = settings
        self.prompts = [as_prompt(prompt, reading) for prompt in prompts]
        if "no_copy" in settings.rules:
            _check_index(loaded)
        self.tokens, self._streams = 0, list[Stream]()

    async def begin(self, scheduler: Scheduler) -> None:
        """Hand in the jobs.

        Raises:
            ChargenError: one is refused; those before it have to be cancelled.
        """
        for prompt in self.prompts:  # in a thread: a constraint may take half a second
            entry = await asyncio.to_thread(scheduler.prepare, self._job(prompt))
            self._streams.append(scheduler.submit(entry))

    def _job(self, prompt: str) -> TextJob:
        own = self.settings
        return TextJob(
            prompt,
            own.config,
            own.count,
            own.logprobs,
            own.echo and own.logprobs is not None,
            max_tokens=own.max_tokens,
            label=own.label,
            **own.rules,
        )

    @property
    def scored(self) -> int:
        """Tokens of all texts that are scored, at most."""
        if self.settings.logprobs is None:
            return 0
        echoed = sum(map(len, self.prompts)) if self.settings.echo else 0
        most = self.settings.max_tokens or self.settings.config.length
        return self.settings.count * (echoed + most * len(self.prompts))

    def cancel(self) -> None:
        """Drop all texts."""
        for stream in self._streams:
            stream.cancel()

    def usage(self) -> dict[str, int]:
        """Return the tokens of the prompts and of the texts."""
        prompt, new = sum(stream.prompt_tokens for stream in self._streams), self.tokens
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}

    async def texts(self) -> list[Text]:
        """Return the texts when they are finished."""
        found = dict[int, Text]()
        async for new in self.pieces():
            text = found.setdefault(new.number, new)
            if text is not new:
                text.text += new.text
                text.finish_reason = new.finish_reason
                text.scores = new.scores and [*(text.scores or []), *new.scores]
        return [found[number] for number in sorted(found)]

    async def pieces(self) -> AsyncIterator[Text]:
        """Yield new text piece by piece; the first one of a text has the prompt it echoes."""
        begun = set[int]()
        async for job, chunk in merged(self._streams):
            self.tokens += chunk.tokens
            number = job * self.settings.count + chunk.index
            yield self._piece(number, job, chunk, first=number not in begun)
            begun.add(number)

    def _piece(self, number: int, job: int, chunk: Chunk, *, first: bool) -> Text:
        prompt, scored = self.prompts[job], self.settings.logprobs is not None
        reason = chunk.finish_reason and REASONS.get(chunk.finish_reason, chunk.finish_reason)
        start = 0 if self.settings.echo else len(prompt)
        piece = Text(number, start, chunk.text, chunk.scores if scored else None, reason)
        if first and self.settings.echo:
            piece.text = prompt + piece.text
            piece.scores = [*self._streams[job].prompt_scores, *chunk.scores] if scored else None
        return piece


def _check_index(loaded: Loaded) -> None:
    """Refuse a rule against copies where there is nothing to compare with, naming no folder."""
    run = loaded.sampler.run
    if run is None or not (run / COPIES).is_file():
        words = f"no_copy needs the index of the training text, which {loaded.name!r} does not have"
        raise RequestError(400, f"{words}; train with --copy-index", param="no_copy")


async def merged(streams: list[Stream]) -> AsyncIterator[tuple[int, Chunk]]:
    """Yield the chunks of several streams as they come, with the index of the stream."""
    if len(streams) == 1:
        async for chunk in streams[0]:
            yield 0, chunk
        return
    waiting = {asyncio.ensure_future(anext(stream)): n for n, stream in enumerate(streams)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = waiting.pop(task)
                if isinstance(task.exception(), StopAsyncIteration):
                    continue
                yield number, task.result()
                waiting[asyncio.ensure_future(anext(streams[number]))] = number
    finally:
        for task in waiting:
            task.cancel()

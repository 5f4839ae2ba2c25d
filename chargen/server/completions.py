"""Routes of completions and chats, in the forms of OpenAI's API."""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any

from chargen.evaluation.surprisal import ScoredToken, bits_of
from chargen.server.errors import RequestError
from chargen.server.exchange import Exchange
from chargen.server.forms import without_unsupported
from chargen.server.generation import Generation, Text, limits_of, settings_of
from chargen.server.jobs import TokenScore
from chargen.server.library import Library, Loaded
from chargen.server.scoring import DIGITS, scored, warning
from chargen.server.settings import ServeConfig
from chargen.tokenizers.base import StreamDecoder, to_utf8

ASSISTANT = "assistant"
SYSTEM = ("system", "developer")
PART = re.compile(r"(\\x[0-9a-f]{2})+")  # of a character, as a token is named
MAX_NAMES = 16  # of those who write, whose next line ends an answer


class _Offset:
    """Offset in a text, which grows token by token.

    Args:
        start: offset of the first token.
        decoder: knows when the bytes of tokens are whole characters.
    """

    def __init__(self, start: int, decoder: StreamDecoder) -> None:
        self._offset, self._decoder = start, decoder

    def advance(self, score: TokenScore) -> int:
        """Return the offset of a token in characters, and go on to the next one."""
        offset = self._offset
        new = score.text if score.token < 0 else self._decoder.push(score.token)
        self._offset += len(new)
        return offset


class Answer:
    """The texts of a request in the legacy form of completions.

    Args:
        loaded: the model.
        seed: random seed of the texts, if they have one.
    """

    prefix, objects = "cmpl", ("text_completion", "text_completion")

    def __init__(self, loaded: Loaded, seed: int | None) -> None:
        self._tokenizer = loaded.sampler.tokenizer
        self._head = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": loaded.name,
            "seed": seed,
        }
        self._offsets: dict[int, _Offset] = {}

    def whole(self, texts: Iterable[Text], usage: dict[str, int]) -> dict[str, Any]:
        """Return the answer."""
        choices = [self._choice(text, whole=True) for text in texts]
        return {**self._head, "object": self.objects[0], "choices": choices, "usage": usage}

    def events(self, new: Text) -> list[dict[str, Any]]:
        """Return the events of new text."""
        return [{**self._head, "object": self.objects[1], "choices": [self._choice(new)]}]

    def usage_event(self, usage: dict[str, int]) -> dict[str, Any]:
        """Return the event with the number of tokens."""
        return {**self._head, "object": self.objects[1], "choices": [], "usage": usage}

    def _choice(self, text: Text, *, whole: bool = False) -> dict[str, Any]:
        return {
            "index": text.number,
            "text": text.text,
            "logprobs": self._scores(text),
            "finish_reason": text.finish_reason,
        }

    def _scores(self, text: Text) -> dict[str, Any] | None:
        """Return scores in four lists; offsets count from the beginning of the prompt."""
        if text.scores is None:
            return None
        new = _Offset(text.start, self._tokenizer.decoder())
        offset = self._offsets.setdefault(text.number, new)
        return {
            "tokens": [score.text for score in text.scores],
            "token_logprobs": [score.logprob for score in text.scores],
            "top_logprobs": [_best(score) for score in text.scores],
            "text_offset": list(map(offset.advance, text.scores)),
        }


def _best(score: TokenScore) -> dict[str, float] | None:
    """Return the likeliest tokens in the place of one, and itself."""
    if score.logprob is None:
        return None
    return {**dict(score.best), score.text: score.logprob}


class ChatAnswer(Answer):
    """The texts of a request as messages."""

    prefix, objects = "chatcmpl", ("chat.completion", "chat.completion.chunk")

    def __init__(self, loaded: Loaded, seed: int | None) -> None:
        super().__init__(loaded, seed)
        self._begun = set[int]()

    def events(self, new: Text) -> list[dict[str, Any]]:
        """Return the events of new text; the first of a message has its role."""
        events = super().events(new)
        if new.number not in self._begun:
            self._begun.add(new.number)
            delta = {"role": ASSISTANT, "content": ""}
            first = {"index": new.number, "delta": delta, "logprobs": None, "finish_reason": None}
            events.insert(0, {**events[0], "choices": [first]})
        return events

    def _choice(self, text: Text, *, whole: bool = False) -> dict[str, Any]:
        content = {"content": text.text}
        own = {"message": {"role": ASSISTANT, **content, "refusal": None}} if whole else {}
        scores = text.scores and {"content": [_chat_score(score) for score in text.scores]}
        return {
            "index": text.number,
            **(own or {"delta": content}),
            "logprobs": scores,
            "finish_reason": text.finish_reason,
        }


def _chat_score(score: TokenScore) -> dict[str, Any]:
    own = _chat_token(score.text, score.logprob)
    return {**own, "top_logprobs": [_chat_token(*pair) for pair in score.best]}


def _chat_token(text: str, logprob: float | None) -> dict[str, Any]:
    part = PART.fullmatch(text)
    data = bytes.fromhex(text.replace("\\x", "")) if part else to_utf8(text, errors="replace")
    return {"token": text, "logprob": logprob, "bytes": list(data)}


# -- routes -------------------------------------------------------------------------------


async def complete(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/completions``."""
    given = without_unsupported(given)
    best_of = given.get("best_of", given.get("n", 1))
    if best_of != given.get("n", 1):
        raise RequestError(
            400, f"best_of is {best_of}; allowed: n, because all are returned", param="best_of"
        )
    prompts = given.get("prompt", "")
    prompts = [prompts] if isinstance(prompts, str) else prompts
    _check_length(sum(map(len, prompts)), "prompt", library.config)
    async with library.use(given.get("model")) as loaded:
        if given.get("echo") and "logprobs" in given and 0 in limits_of(given):
            await _score(library, exchange, loaded, prompts, given)
        else:
            settings = settings_of(given, loaded.sampler, library.config.max_length)
            generation = Generation(loaded, prompts, settings)
            answer = Answer(loaded, settings.config.seed)
            await _generate(library, exchange, loaded, given, generation, answer)


async def chat(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/chat/completions``."""
    given = without_unsupported(given)
    prompt, stops = chat_prompt(given["messages"])
    _check_length(len(prompt), "messages", library.config)
    own = given.get("stop", [])
    given["stop"] = [*([own] if isinstance(own, str) else own), *stops]
    if "max_completion_tokens" in given:
        given.setdefault("max_tokens", given["max_completion_tokens"])
    if given.pop("logprobs", False):
        given["logprobs"] = given.get("top_logprobs", 0)
    elif "top_logprobs" in given:
        raise RequestError(
            400, "top_logprobs needs logprobs; set logprobs to true", param="top_logprobs"
        )
    async with library.use(given.get("model")) as loaded:
        settings = settings_of(given, loaded.sampler, library.config.max_length)
        generation = Generation(loaded, [prompt], settings)
        answer = ChatAnswer(loaded, settings.config.seed)
        await _generate(library, exchange, loaded, given, generation, answer)


def chat_prompt(messages: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return messages as the text of a chat, and the stop texts that end a message.

    A system message is a paragraph, each other message a line ``name: content``, and the last one
    is the one to write: ``assistant: ``. That is the form in which chats are read for training.
    """
    lines, names = list[str](), [ASSISTANT]
    for message in messages:
        name = message.get("name") or message["role"]
        content = _content(message.get("content"))
        lines.append(content if message["role"] in SYSTEM else f"{name}: {content}")
        names += [] if message["role"] in SYSTEM or name in names else [name]
    if messages[-1]["role"] != ASSISTANT:
        lines.append(f"{ASSISTANT}: ")
    return "\n".join(lines), [f"\n{name}:" for name in names[:MAX_NAMES]]


def _check_length(characters: int, name: str, config: ServeConfig) -> None:
    """Refuse prompts that are too long together."""
    if characters > config.max_prompt:
        words = f"{name} has {characters:,} characters together; allowed: up to"
        raise RequestError(400, f"{words} {config.max_prompt:,}", param=name)


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return content or ""


async def _generate(
    library: Library,
    exchange: Exchange,
    loaded: Loaded,
    given: dict[str, Any],
    generation: Generation,
    answer: Answer,
) -> None:
    """Generate the texts of a request, and answer with them."""
    with library.scores.hold(generation.scored, generation.settings.logprobs or 0, "logprobs"):
        try:
            await generation.begin(loaded.scheduler)
            if given.get("stream"):
                options = given.get("stream_options") or {}
                await _stream(exchange, generation, answer, bool(options.get("include_usage")))
            else:
                texts = await generation.texts()
                note = warning(loaded, "".join(generation.prompts))
                await _whole(exchange, answer, texts, generation.usage(), note)
        finally:
            generation.cancel()


async def _whole(
    exchange: Exchange,
    answer: Answer,
    texts: list[Text],
    usage: dict[str, int],
    note: dict[str, str],
) -> None:
    """Answer with whole texts; many scores are put together in a thread, so that others go on."""
    await exchange.json(await asyncio.to_thread(answer.whole, texts, usage) | note)


async def _stream(exchange: Exchange, generation: Generation, answer: Answer, usage: bool) -> None:
    """Send the texts as events."""
    begun = False  # with the first one, so that an error before it has a status of its own
    async for new in generation.pieces():
        if not begun:
            await exchange.begin_events()
            begun = True
        for event in answer.events(new):
            await exchange.event(event)
    if usage:
        await exchange.event(answer.usage_event(generation.usage()))
    await exchange.event("[DONE]")
    await exchange.end_events()


async def _score(
    library: Library,
    exchange: Exchange,
    loaded: Loaded,
    prompts: list[str],
    given: dict[str, Any],
) -> None:
    """Answer a request for the scores of its prompts alone, which are those of ``/v1/score``."""
    texts, top, n, count = list[Text](), given["logprobs"], given.get("n", 1), 0
    with library.scores.hold(n * sum(map(len, prompts)), top, "logprobs"):
        for prompt in prompts:
            found = await scored(loaded, loaded.of(given), "prompt", prompt, top, _token_score)
            count += len(found.rows)
            for _ in range(n):
                texts.append(Text(len(texts), 0, found.text, found.rows, "length"))
        usage = {"prompt_tokens": count, "completion_tokens": 0, "total_tokens": count}
        note = warning(loaded, "".join(text.text for text in texts[::n]))
        await _whole(exchange, Answer(loaded, None), texts, usage, note)


def _token_score(token: ScoredToken) -> TokenScore:
    best = [
        (guess.text, round(-bits_of(guess.probability) * math.log(2), DIGITS))
        for guess in token.guesses
    ]
    return TokenScore(token.text, -1, round(-token.nats, DIGITS), best)

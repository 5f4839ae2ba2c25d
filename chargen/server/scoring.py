"""Routes that read a text: its scores, its next token, its ghost text.

All of them run the model in small pieces, so that the texts of others go on between.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chargen.data.decoding import as_read
from chargen.display.output import unknown_note
from chargen.evaluation.surprisal import ScoredToken, next_distribution, next_facts, score_tokens
from chargen.sampling.ghost import Lookahead
from chargen.sampling.records import as_prompt
from chargen.sampling.sampler import Sampler
from chargen.server.errors import RequestError
from chargen.server.exchange import Exchange
from chargen.server.library import Library, Loaded
from chargen.tokenizers.byte import bytes_of

Row = TypeVar("Row")

BLOCK = 128  # tokens of a text scored at once
DIGITS = 6  # of a score, as `chargen score` has them
LAST_WORDS = 8  # characters before the cursor by which ghost text is cut: "Mr" ends no sentence
GHOST_SECONDS = 0.03  # in which ghost text grows: half of what a typist does not notice


@dataclass(frozen=True)
class Scored(Generic[Row]):
    """A text that was scored.

    Attributes:
        text: as the model reads it.
        rows: what is answered of each token.
        bits: surprisal of the whole text.
    """

    text: str
    rows: list[Row]
    bits: float


async def scored(
    loaded: Loaded,
    sampler: Sampler,
    name: str,
    text: str,
    top: int,
    row: Callable[[ScoredToken], Row],
) -> Scored[Row]:
    """Score a text, in parts between which others have their turn.

    Args:
        loaded: the model.
        sampler: the model for the label of the text.
        name: of the field with the text, for an error.
        text: as it was given.
        top: number of the most likely tokens that come with each token.
        row: makes of a token what is answered.

    Raises:
        RequestError: the text is empty.
        TokenizerError: it holds a lone surrogate.
    """
    text = as_read(text, loaded.sampler.reading, name)
    if not text:
        raise RequestError(400, f"{name} is empty; give at least one character", param=name)

    def blocks() -> Iterator[tuple[list[Row], float]]:
        tokens = score_tokens(sampler, text, guesses=top, block=BLOCK)
        while block := list(itertools.islice(tokens, BLOCK)):
            yield list(map(row, block)), sum(token.bits for token in block)

    found = await loaded.scheduler.work(blocks())
    rows = itertools.chain.from_iterable(rows for rows, _ in found)
    return Scored(text, list(rows), sum(bits for _, bits in found))


async def score(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/score``."""
    await _scores(library, exchange, given, 0, _score_row)


def _score_row(token: ScoredToken) -> dict[str, Any]:
    return {
        "text": token.text,
        "logprob": round(-token.nats, DIGITS),
        "bits": round(token.bits, DIGITS),
        "bytes": list(bytes_of(token.text)),
    }


async def surprisal(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/surprisal``."""
    await _scores(library, exchange, given, given.get("top", 5), _surprisal_row)


def _surprisal_row(token: ScoredToken) -> dict[str, Any]:
    guesses = [
        {"text": guess.text, "probability": round(guess.probability, DIGITS)}
        for guess in token.guesses
    ]
    return {"text": token.text, "bits": round(token.bits, DIGITS), "guesses": guesses}


async def _scores(
    library: Library,
    exchange: Exchange,
    given: dict[str, Any],
    top: int,
    row: Callable[[ScoredToken], dict[str, Any]],
) -> None:
    """Answer with the scores of a text."""
    text = given["text"]
    with library.scores.hold(len(text), top, "text" if top == 0 else "top"):
        async with library.use(given.get("model")) as loaded:
            found = await scored(loaded, loaded.of(given), "text", text, top, row)
            await exchange.json(_facts(loaded, found))


def _facts(loaded: Loaded, found: Scored[dict[str, Any]]) -> dict[str, Any]:
    """Return what is answered of a text."""
    count = len(found.text)
    facts = {
        "model": loaded.name,
        "characters": count,
        "bits": round(found.bits, DIGITS),
        "bits_per_char": round(found.bits / count, DIGITS),
        "logprob": round(-found.bits * math.log(2), DIGITS),
    }
    return facts | warning(loaded, found.text) | {"tokens": found.rows}


def warning(loaded: Loaded, text: str) -> dict[str, str]:
    """Return a note on the unknown characters of a text, if it has some."""
    note = unknown_note(loaded.sampler.tokenizer, text)
    return {"warning": note} if note else {}


# -- what comes next ----------------------------------------------------------------------


async def next_token(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/next``."""
    async with library.use(given.get("model")) as loaded:
        sampler = loaded.of(given)
        text = as_prompt(given.get("prompt", ""), sampler.reading)

        def steps() -> Iterator[Any]:
            before, rest = yield from loaded.prefixes.read(text, sampler)
            state = sampler.read(rest, before)
            yield next_distribution(sampler, state, given.get("top", 10))

        found = (await loaded.scheduler.work(steps()))[-1]
        facts = next_facts(sampler.tokenizer, found)
        await exchange.json({"model": loaded.name, "prompt": text} | facts | warning(loaded, text))


async def ghost(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/ghost``."""
    async with library.use(given.get("model")) as loaded:
        sampler = loaded.of(given)
        text = as_read(given["text"], sampler.reading)

        def steps() -> Iterator[Any]:
            before, rest = yield from loaded.prefixes.read(text, sampler)
            cut = max(0, rest.rfind(" ", 0, -LAST_WORDS))
            if cut:  # in one call: a lookahead keeps the state after each of the last tokens
                before = sampler.read(rest[:cut], before)
            lookahead = Lookahead(sampler, before)
            lookahead.read(rest[cut:])  # before its time begins, which a busy machine needs too
            yield from lookahead.growing(rest[cut:], given.get("max_chars", 80), GHOST_SECONDS)

        ahead = (await loaded.scheduler.work(steps()))[-1]
        await exchange.json({"model": loaded.name, "text": ahead})

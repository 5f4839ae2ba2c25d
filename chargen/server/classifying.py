"""Route that tells the labels of texts, by Bayes' rule, as ``chargen classify`` does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chargen.evaluation.labels import label_probabilities
from chargen.server.errors import RequestError
from chargen.server.exchange import Exchange
from chargen.server.library import Library, Loaded

DIGITS = 6  # of a probability


async def classify(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/classify``."""
    texts = [given["input"]] if isinstance(given["input"], str) else given["input"]
    async with library.use(given.get("model")) as loaded:
        if not loaded.sampler.labels:
            words = f"the model {loaded.name!r} has no labels; train one with --label"
            raise RequestError(400, words, param="model")
        found = await loaded.scheduler.work(_each(loaded, given, texts))
        data = [_facts(number, probs) for number, probs in enumerate(found)]
        await exchange.json({"model": loaded.name, "object": "list", "data": data})


def _each(loaded: Loaded, given: dict[str, Any], texts: list[str]) -> Iterator[dict[str, float]]:
    """Yield the probabilities of the labels of each text, between which others have their turn."""
    own = {name: given[name] for name in ("prior", "whole") if name in given}
    for text in texts:
        yield label_probabilities(loaded.sampler, [text], **own)[0]


def _facts(number: int, probs: dict[str, float]) -> dict[str, Any]:
    """Return the most likely label of a text, and the probability of each, the best first."""
    ordered = sorted(probs, key=lambda label: -probs[label])
    found = {label: round(probs[label], DIGITS) for label in ordered}
    return {"index": number, "label": ordered[0], "probabilities": found}

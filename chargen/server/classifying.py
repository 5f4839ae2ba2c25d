"""Route that tells the labels of texts, by Bayes' rule, as ``chargen classify`` does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chargen.evaluation.labels import log_label_probabilities
from chargen.evaluation.nll import Floats
from chargen.model.saved import read_model
from chargen.server.errors import RequestError
from chargen.server.exchange import Exchange
from chargen.server.library import Library, Loaded

DIGITS = 6  # of a probability


async def classify(library: Library, exchange: Exchange, given: dict[str, Any]) -> None:
    """Answer ``/v1/classify``."""
    texts = [given["input"]] if isinstance(given["input"], str) else given["input"]
    async with library.use(given.get("model")) as loaded:
        names = loaded.sampler.labels
        if not names:
            words = f"the model {loaded.name!r} has no labels; train one with --label"
            raise RequestError(400, words, param="model")
        found = await loaded.scheduler.work(_each(loaded, given, texts))
        data = [_facts(n, row, names) for n, row in enumerate(found)]
        await exchange.json({"model": loaded.name, "object": "list", "data": data})


def _each(loaded: Loaded, given: dict[str, Any], texts: list[str]) -> Iterator[Floats]:
    """Yield ln P(label | text) of each text (L,), between which others have their turn."""
    saved = read_model(loaded.known.path)
    own = {name: given[name] for name in ("prior", "whole") if name in given}
    for text in texts:
        yield log_label_probabilities(saved, loaded.sampler, [text], **own)[0]


def _facts(number: int, logprobs: Floats, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the most likely label of a text, and the probability of each, the best first."""
    order = np.argsort(-logprobs, kind="stable").tolist()
    probs = {names[n]: round(float(np.exp(logprobs[n])), DIGITS) for n in order}
    return {"index": number, "label": names[order[0]], "probabilities": probs}

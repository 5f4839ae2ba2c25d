"""Samplers of the trained run without files: what the tests of the batch and its scheduler use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chargen.config import SampleConfig
from chargen.engine import complete, make_engine
from chargen.model.saved import open_model
from chargen.sampling.sampler import Sampler
from chargen.server.jobs import TextJob


def open_sampler(model: Path) -> Sampler:
    """Return the model of a file with an engine of its own, on one thread."""
    saved = open_model(str(model))
    engine = make_engine(saved.weights(), saved.config, "cpu", 1)
    return Sampler(saved.tokenizer, complete(saved, engine), saved)


def alone(sampler: Sampler, job: TextJob) -> list[tuple[str, str]]:
    """Return the texts of a job with their finish reasons when nobody else is there."""
    rules: dict[str, Any] = {"regex": job.regex, "words": job.words, "no_copy": job.no_copy}
    texts = sampler.generate_batch(job.prompt, job.count, **rules, **vars(job.config))
    return [(text.text, text.finish_reason) for text in texts]


def job(prompt: str = "The ", count: int = 1, **settings: Any) -> TextJob:
    """Return a job with these sampling parameters."""
    return TextJob(prompt, SampleConfig(**{"length": 40, "seed": 1, **settings}), count)

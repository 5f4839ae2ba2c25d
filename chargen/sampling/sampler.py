"""Sampler: a trained model at work, from a prompt to generated text.

Several texts are generated in one batch, each with random numbers of its own: in float32 a text
does not depend on the other texts of its batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from chargen.config import ReadConfig, SampleConfig, require_count
from chargen.engine import Engine, State, open_engine
from chargen.errors import ChargenError, ConfigError
from chargen.model.saved import SavedModel, open_model
from chargen.sampling.decoding import DEAD_END, ENDS, Decoder, Sample
from chargen.sampling.filters import Tokens, log_probabilities
from chargen.sampling.generated import Generated
from chargen.sampling.records import Label, as_prompt, begin, labelled, sample_config, with_end
from chargen.sampling.rows import Rows
from chargen.tokenizers import Tokenizer

if TYPE_CHECKING:
    from chargen.sampling.constraints import Constraint

    Words = Iterable[str] | os.PathLike[str]

PROMPT_CHUNK = 1024  # tokens of a prompt read in one call of the engine
REMEMBERED = 4096  # last tokens of a prompt that penalties can look back on
MAX_SAMPLES, MAX_BEAM = 4096, 1024
UNFINISHED = "the text ended before it met the constraints: no-copy left no token to continue"


@dataclass(frozen=True)
class DecodeState:
    """State of decoding after some text.

    Attributes:
        state: recurrent state of a batch of one.
        logits: of the next token (V,).
        before: the last tokens of the text.
    """

    state: State
    logits: NDArray[np.float32]
    before: Tokens = field(default_factory=lambda: np.zeros(0, np.int64))


class Sampler:
    """A trained model with its tokenizer.

    Attributes:
        tokenizer: between text and ids.
        engine: runs the network.
        saved, run: the model's file, and its folder, if it has one.
        reading: how the corpus of the model was read.
        labels, label: names of the labels that texts may have, and that of all texts, if any.
    """

    def __init__(self, tokenizer: Tokenizer, engine: Engine, own: SavedModel | None = None) -> None:
        self.tokenizer, self.engine = tokenizer, engine
        self.saved, self.run = own, own.path.parent if own else None
        self.reading = own.reading if own else ReadConfig(tokenizer=tokenizer.kind)
        self.labels = own.config.labels if own else ()
        self.label: Label | None = None

    def labelled(self, given: Label) -> Self:
        """Return a sampler whose texts have a label; raises ConfigError as ``label_weights``."""
        return labelled(self, given)

    def generate(
        self,
        prompt: str | DecodeState = "",
        *,
        regex: str | None = None,
        words: Words | None = None,
        no_copy: int | None = None,
        **settings: Any,
    ) -> Iterator[str]:
        """Generate the text that follows a prompt; yield it piece by piece.

        Args:
            prompt: text, or the state after one; an empty text is a newline.
            regex: regular expression that the whole text matches.
            words: the only words that the text may have, or a file of them.
            no_copy: never copy so many characters of the training text.
            settings: fields of ``SampleConfig``, such as ``length``, ``temperature``, ``seed``.

        Raises:
            ConfigError: a setting is unknown or out of its range, or a constraint is not possible.
            TokenizerError: the prompt holds a lone surrogate.
            ChargenError: at the end of a text that could not meet its constraints.
        """
        config = sample_config(settings, self.reading)
        constraint = self.constraint(config, regex, words, no_copy)
        return self.stream(self.state_after(prompt), config, constraint)

    def generate_batch(
        self,
        prompt: str | DecodeState = "",
        num_samples: int = 1,
        *,
        regex: str | None = None,
        words: Words | None = None,
        no_copy: int | None = None,
        beam: int | None = None,
        logprobs: bool = False,
        **settings: Any,
    ) -> list[Generated]:
        """Generate several texts in one batch.

        Args:
            prompt, regex, words, no_copy, settings: as of ``generate``.
            num_samples: number of texts.
            beam: width of a beam search for the most likely texts; nothing is random then.
            logprobs: return the log probability of each token.

        Raises:
            ConfigError: a setting is unknown or out of its range, or a constraint is not possible.
            TokenizerError: the prompt holds a lone surrogate.
        """
        require_count("num-samples", num_samples, MAX_SAMPLES)
        config = sample_config(settings, self.reading)
        constraint = self.constraint(config, regex, words, no_copy)
        state = self.state_after(prompt)
        if beam is None:
            first, *_ = self.decode(state, config, num_samples, constraint, logprobs=logprobs)
            return [Generated.of(sample) for sample, _ in first]
        require_count("beam", beam, MAX_BEAM)
        if constraint:
            raise ConfigError("beam search takes no regex, words or no-copy; leave one out")
        from chargen.sampling.beam import beam_search

        return beam_search(self, state, config, max(beam, num_samples))[:num_samples]

    def read(
        self,
        text: str,
        before: DecodeState | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> DecodeState:
        """Return the state after a text.

        Args:
            text: what to read; of several records the last. Empty at the start is a newline.
            before: the state before the text; None is the initial state.
            progress: called with the number of tokens read so far.

        Raises:
            TokenizerError: the text holds a lone surrogate.
        """
        end = self.reading.end
        text = text or ("" if before or end else "\n")
        if end and end in text:  # after which the state begins anew
            text, before = text.rpartition(end)[2], None
        ids = self.tokenizer.encode(text).astype(np.int64)  # (T,)
        if before is None:
            before = DecodeState(*begin(self.engine, self.tokenizer, end))
        state, logits = before.state, before.logits
        for start in range(0, len(ids), PROMPT_CHUNK):
            out, state = self.engine.run(ids[None, start : start + PROMPT_CHUNK], state)
            logits = out[0, -1]
            progress(start + out.shape[1])
        last = np.concatenate([before.before, ids[-REMEMBERED:]])[-REMEMBERED:]
        return DecodeState(state, logits, last)

    def state_after(self, prompt: str | DecodeState) -> DecodeState:
        """Return the state after a prompt, which may be that state already; see ``as_prompt``.

        Raises:
            ConfigError: the prompt is not a text, or holds the end of a record.
            TokenizerError: the prompt holds a lone surrogate.
        """
        if isinstance(prompt, DecodeState):
            return prompt
        return self.read(as_prompt(prompt, self.reading))

    def stream(
        self, state: DecodeState, config: SampleConfig, constraint: Constraint | None = None
    ) -> Generator[str, None, Sample]:
        """Generate the text that follows a state; yield it piece by piece, and return the sample.

        Raises:
            ChargenError: at the end of a text that could not meet its constraint.
        """
        return _pieces(self.decode(state, config, 1, constraint))

    def decode(
        self,
        state: DecodeState,
        config: SampleConfig,
        count: int,
        constraint: Constraint | None = None,
        *,
        logprobs: bool = False,
    ) -> Iterator[list[tuple[Sample, str]]]:
        """Generate several texts in one batch; yield their new pieces step by step.

        Each step yields pairs of a text and its new piece. The first step has all texts, with
        nothing generated yet; later ones have those that are not finished.

        Args:
            state: after the prompt.
            config: sampling parameters.
            count: number of texts.
            constraint: the rule that each text keeps, made with the same parameters.
            logprobs: keep the log probability of each token.

        Raises:
            ConfigError: a banned or biased character has no token of its own, or no text within
                the length keeps the constraint.
        """
        config = with_end(config, self.reading.end)
        decoder = Decoder(self.tokenizer, config, constraint)
        samples = decoder.begin(config, state.before, count)
        rows = Rows(self.engine)
        rows.join([state.state] * count, [state.logits] * count)
        return _decode(decoder, rows, samples, logprobs)

    def constraint(
        self, config: SampleConfig, regex: str | None, words: Words | None, no_copy: int | None
    ) -> Constraint | None:
        """Return the constraint of these rules, if there are any; see ``make_constraint``."""
        if regex is None and words is None and no_copy is None:
            return None
        from chargen.sampling.constraints import make_constraint

        given: dict[str, Any] = {"regex": regex, "words": words, "no_copy": no_copy}
        end = self.reading.end
        return make_constraint(self.tokenizer, config, **given, run=self.run, end=end)


# -- the decoding loop --------------------------------------------------------------------


def _decode(
    decoder: Decoder, rows: Rows, samples: list[Sample], logprobs: bool
) -> Iterator[list[tuple[Sample, str]]]:
    yield [(sample, "") for sample in samples]
    while samples := rows.unfinished(samples):
        block = []  # of tokens (B,), one per step
        for _ in range(decoder.steps_at_once(samples) if len(samples) > 1 else 1):
            block.append(decoder.next_tokens(rows.logits(), samples))
            if logprobs:
                _record_logprobs(samples, rows.logits(), block[-1])
            rows.last = block[-1]
        columns = zip(*(tokens.tolist() for tokens in block), strict=True)
        pairs = zip(samples, columns, strict=True)
        yield [(sample, sample.append(tokens)) for sample, tokens in pairs]


def _pieces(steps: Iterator[list[tuple[Sample, str]]]) -> Generator[str, None, Sample]:
    """Yield the pieces of a batch of one text."""
    ((sample, _),) = next(steps)
    for ((_, piece),) in steps:
        if piece:
            yield piece
    if sample.finish_reason == ENDS[DEAD_END]:
        raise ChargenError(UNFINISHED)
    return sample


def _record_logprobs(samples: list[Sample], logits: NDArray[np.float32], tokens: Tokens) -> None:
    rows = log_probabilities(logits)
    for sample, row, token in zip(samples, rows, tokens.tolist(), strict=True):
        if token >= 0:
            sample.logprobs.append(float(row[token]))


# -- loading ------------------------------------------------------------------------------


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    int8: bool = False,
) -> Sampler:
    """Load a model for inference.

    Args:
        model: a run's name, its folder or a ``.safetensors`` file; None is the newest run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads; None finds the fastest number.
        int8: quantize the weight matrices to int8: a quarter of the size, faster if large.

    Raises:
        ConfigError: int8 is not available on a GPU.
        CheckpointError: there is no such model, or its file is damaged.
        DeviceError: there is no such device.
    """
    saved = open_model(None if model is None else str(model))
    engine = open_engine(saved, device, threads, int8=int8)
    return Sampler(saved.tokenizer, engine, saved)

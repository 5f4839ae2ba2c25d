"""chargen learns a text with a recurrent network and generates text in its voice.

From Python::

    import chargen

    model = chargen.train("my.txt", name="mine", time=60).finish()
    for piece in model.generate("Once upon", length=200):
        print(piece, end="")

    model = chargen.load("mine")
    model.score("Once upon a time").bits_per_char
    model.next("Once upon a ", top=3)
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chargen.machine import bound_spinning, forbid_telemetry
from chargen.machine.torch import need_torch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from chargen.evaluation.lines import ScoredLine
    from chargen.evaluation.surprisal import Guess, ScoredText
    from chargen.sampling.generated import Generated
    from chargen.sampling.records import Label
    from chargen.sampling.sampler import Sampler
    from chargen.tokenizers import Tokenizer
    from chargen.training.events import Event
    from chargen.training.run_state import RunState

__version__ = "0.1.0"
__all__ = ["Model", "Training", "__version__", "load", "train"]

bound_spinning()  # both must come before what they are about is imported
forbid_telemetry()

# Imports stand inside of the functions, so that ``chargen --help`` stays instant.


class Model:
    """A trained model: generates text, scores text, predicts the next character.

    A text is read as a file of it would be: its line ends as those of the training text, no
    byte-order mark. A byte model reads all as it is; of its texts, a byte that is not UTF-8 is a
    lone surrogate: ``text.encode("utf-8", "surrogateescape")`` returns the bytes.

    Where a method takes a label, that is the name of one of ``labels``, or weights of several: a
    mapping, or typed as ``"a=0.7,b=0.3"``. None is a text without a label.

    Attributes:
        sampler: the engine and the tokenizer at work.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, between text and ids."""
        return self.sampler.tokenizer

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that its texts may have."""
        return self.sampler.labels

    def _of(self, label: Label | None) -> Sampler:
        return self.sampler if label is None else self.sampler.labelled(label)

    def generate(
        self, prompt: str = "", *, label: Label | None = None, **settings: Any
    ) -> Iterator[str]:
        """Yield the text that follows a prompt, piece by piece.

        Args:
            prompt: where to go on from; empty starts after a newline, or a record.
            label: of the text.
            settings: ``regex``, ``words``, ``no_copy`` as of ``chargen sample``, and fields of
                ``SampleConfig``: ``length`` in characters, ``until`` (``"sentence"``, ``"line"``,
                ``"paragraph"``), ``temperature``, ``top_k``, ``seed`` and so on.

        Raises:
            ConfigError: a setting is unknown or out of its range, or the model has no such label.
            TokenizerError: the prompt holds a lone surrogate.
        """
        return self._of(label).generate(prompt, **settings)

    def generate_batch(
        self,
        prompt: str = "",
        num_samples: int = 1,
        *,
        label: Label | None = None,
        **settings: Any,
    ) -> list[Generated]:
        """Generate several texts in one batch.

        Args:
            prompt: where all begin.
            num_samples: how many.
            label: of the texts.
            settings: as of ``generate``; also ``beam``, the width of a beam search, and
                ``logprobs=True`` for the log probability of each token in nats.

        Raises:
            ConfigError: a setting is unknown or out of its range, or the model has no such label.
        """
        return self._of(label).generate_batch(prompt, num_samples, **settings)

    def score(self, text: str, *, label: Label | None = None) -> ScoredText:
        """Score a text: the surprisal of each token, and means in bits and nats.

        Raises:
            ConfigError: the text is empty, or the model has no such label.
            TokenizerError: the text holds a lone surrogate.
        """
        from chargen.evaluation.surprisal import score_text

        return score_text(self._of(label), text)

    def score_lines(
        self, lines: Iterable[str], *, label: Label | None = None
    ) -> Iterator[ScoredLine]:
        """Score lines, or other short texts, each as a text of its own: many side by side.

        Args:
            lines: with their newlines, as a file yields them, or without.
            label: of the lines.

        Raises:
            ConfigError: the model has no such label.
            TokenizerError: a line holds a lone surrogate.
        """
        from chargen.data.decoding import as_read
        from chargen.evaluation.lines import LineScorer

        reading = self.sampler.reading
        return LineScorer(self._of(label)).score(as_read(line, reading, "line") for line in lines)

    def classify(
        self, texts: Iterable[str], *, prior: str = "training", whole: bool = True
    ) -> list[dict[str, float]]:
        """Tell the labels of texts by Bayes' rule: the probability of each label of each text.

        Args:
            texts: of a model of records each is a record, or several.
            prior: ``training`` for the frequency of a label in the training text, or ``uniform``.
            whole: whether each ends where it ends; False for a passage, which may go on.

        Raises:
            ConfigError: the model has no labels, or there is no such prior.
            TokenizerError: a text holds a lone surrogate.
        """
        from chargen.evaluation.labels import label_probabilities

        return label_probabilities(self.sampler, list(texts), prior=prior, whole=whole)

    def next(
        self, prompt: str = "", top: int = 10, *, label: Label | None = None
    ) -> tuple[Guess, ...]:
        """Return the most likely next tokens after a prompt, with their probabilities."""
        from chargen.evaluation.surprisal import next_tokens

        return next_tokens(self._of(label), prompt, top)


def load(
    model: str | Path | Sequence[str | Path] | None = None,
    *,
    mix: Sequence[float] | None = None,
    device: str = "auto",
    threads: int | None = None,
    int8: bool = False,
) -> Model:
    """Open a trained model, or several as one.

    Args:
        model: a run's name, its folder or a ``.safetensors`` file; None takes the newest run. Of
            several, the probabilities are mixed at each step (``sampling.mixing``).
        mix: the weights of several models, divided by their sum; None gives all the same.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads; None finds the fastest number.
        int8: weight matrices as int8: a quarter of the size, and faster when large.

    Raises:
        ConfigError: int8 was asked for on a GPU, or the models or their weights do not fit.
        CheckpointError: there is no such model, or its file is damaged.
        DeviceError: there is no such device.
    """
    from chargen.sampling.mixing import load_mixed

    models = [model] if isinstance(model, str | os.PathLike) else model
    return Model(load_mixed(models, mix, device=device, threads=threads, int8=int8))


class Training:
    """A run in training: an iterator of its events, which ends with the finished model.

    The text is read and the machine measured when the first event is asked for. A run that is
    left before its end (``close``, the end of a ``with`` block or of the program, Ctrl-C) is
    saved, and ``chargen.train(resume=True, name=...)`` goes on with it.
    """

    def __init__(self, opening: AbstractContextManager[RunState]) -> None:
        from chargen.training.trainer import session

        self._interrupted = threading.Event()
        self._events = session(opening, stop=self._interrupted.is_set)
        self._folder: Path | None = None
        self._stopped = False
        self.close = weakref.finalize(self, self._events.close)

    def __enter__(self) -> Training:
        """Return itself; the run is closed at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the run."""
        self.close()

    def __iter__(self) -> Training:
        """Return itself."""
        return self

    def __next__(self) -> Event:
        """Train until something happens, and return it; Ctrl-C saves the run first.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the run is saved.
        """
        from chargen.training.events import Started, Stopped

        if self._stopped:
            raise KeyboardInterrupt
        with _signalled(self._interrupted):
            event = next(self._events)
        if isinstance(event, Started):
            self._folder = event.run
        if isinstance(event, Stopped):
            self._stopped = True
            self.close()
        return event

    @property
    def model(self) -> Model:
        """The best model so far; the finished one after the last event.

        Raises:
            CheckpointError: there was no evaluation yet.
        """
        return load(self._folder)

    def finish(self, *, quiet: bool = False) -> Model:
        """Train to the end and return the model; progress is shown as on the command line."""
        from chargen.cli.console import show, stderr

        for _ in show(self, stderr(), "nothing" if quiet else "words"):
            pass
        return self.model


@contextlib.contextmanager
def _signalled(interrupted: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set an event instead of breaking off a step, where Python allows that."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def train(
    corpus: str | Path | Sequence[str | Path] | None = None,
    *,
    name: str | None = None,
    time: float | None = None,
    resume: bool = False,
    force: bool = False,
    preset: str | None = None,
    base: str = "auto",
    append: bool = False,
    copy_index: bool = False,
    device: str = "auto",
    threads: int | None = None,
    **settings: Any,
) -> Training:
    """Train a model on a text, as ``chargen train`` does.

    Args:
        corpus: files, folders or built-in texts.
        name: of the run; None makes one of the corpus and the date.
        time: seconds for everything; without any budget, 300.
        resume: go on with the run of this name, or the newest unfinished one.
        force: overwrite a run of this name.
        preset: size of the model, such as ``small``.
        base: a model to begin from: a name of ``chargen models``, a run or a file; ``none`` trains
            from scratch, ``auto`` takes a base model that helps with the text.
        append: the corpus goes on behind that of the run ``base``, or of the newest run.
        copy_index: keep what ``no_copy`` of ``generate`` needs.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads; None finds the fastest number.
        settings: other options of ``chargen train``: fields of ``ReadConfig`` (``tokenizer``),
            ``ModelOptions`` (``hidden``, ``layers``, ``cell``) and ``TrainConfig`` (``steps``,
            ``seed``, ``dropout``).

    Raises:
        ConfigError: a setting is unknown or out of its range, or two contradict each other.
    """
    need_torch("chargen.train")
    from chargen.config import (
        ReadConfig,
        TrainConfig,
        check_threads,
        fresh_seed,
        from_settings,
        refuse,
        require,
    )
    from chargen.errors import ConfigError
    from chargen.model.options import BASE_SETTINGS, ModelOptions
    from chargen.training.growing import GROWING
    from chargen.training.resume import resume_run
    from chargen.training.start import start_run

    given = [*settings, *(["preset"] if preset else [])]
    if append:
        refuse(given, GROWING | BASE_SETTINGS, "append goes on with a run's own text and model")
    if base not in ("auto", "none"):
        refuse(given, BASE_SETTINGS, "base brings its own model and tokenizer")
    settings = {"seed": fresh_seed(), "time": time, **settings}
    reading, options, recipe = from_settings(settings, ReadConfig, ModelOptions, TrainConfig)
    require(name is None or isinstance(name, str), "name", name, "a text")
    check_threads(threads)
    machine: dict[str, Any] = {"device": device, "threads": threads}
    if resume:
        if corpus is not None or force or base != "auto" or append or copy_index:
            others = "corpus, force, base, append and copy_index"
            raise ConfigError(f"resume goes on with a run's own text and model; leave {others} out")
        refuse(given, set(given) - {"steps", "epochs"}, "resume goes on with a run's own settings")
        return Training(resume_run(name, recipe, **machine))
    sources = [corpus] if isinstance(corpus, str | os.PathLike) else corpus
    if append and sources is None:
        sources = []
    elif sources is None or (isinstance(sources, Sequence) and not sources):
        raise ConfigError("no corpus given; name a file, a folder or builtin:pydoc")
    allowed = "files, folders and built-in texts, one or a list"
    require(isinstance(sources, Sequence), "corpus", corpus, allowed)
    if base == "auto" and BASE_SETTINGS & set(given):
        base = "none"
    opening = start_run(
        replace(reading, sources=tuple(map(str, sources))),
        options.with_preset(preset),
        recipe,
        name=name,
        force=force,
        base=base,
        append=append,
        copy_index=copy_index,
        **machine,
    )
    return Training(opening)

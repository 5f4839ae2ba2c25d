"""Models by name: loaded when they are asked for, unloaded when others need their memory.

A client gives a name, never a path: names are looked up in the list of runs and base models.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargen.errors import ChargenError
from chargen.model.saved import read_model
from chargen.sampling.sampler import Sampler
from chargen.server.errors import RequestError, refusal
from chargen.server.limits import Scores
from chargen.server.prefixes import Prefixes
from chargen.server.scheduler import Scheduler
from chargen.server.settings import ServeConfig
from chargen.storage.bases import base_models
from chargen.storage.checkpoint import MODEL
from chargen.storage.runs import list_runs

Load = Callable[[Path], Sampler]
Log = Callable[[str], None]

SHOWN = 10  # names in an error
LIST_SECONDS = 1.0  # for which a list of the models holds


@dataclass(frozen=True)
class Known:
    """A model on disk.

    Attributes:
        name: of its run, or of the base model.
        path: of its file.
        changed: time of its last change, in nanoseconds since 1970.
        labels: that its texts may have.
        record_end: the character that ends a record; None without records.
    """

    name: str
    path: Path
    changed: int
    labels: tuple[str, ...] = ()
    record_end: str | None = None


class Loaded:
    """A model in memory.

    Attributes:
        known: the file that was read.
        sampler: the model.
        scheduler: runs it.
        prefixes: states after the beginnings of texts that were read lately.
        users: requests that use it now.
    """

    def __init__(self, known: Known, sampler: Sampler, scheduler: Scheduler) -> None:
        self.known, self.sampler, self.scheduler = known, sampler, scheduler
        self.prefixes, self.users = Prefixes(sampler), 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.known.name

    def of(self, given: dict[str, Any]) -> Sampler:
        """Return the model for texts with the label of a request, if it has one.

        Raises:
            ConfigError: the model does not have the label.
        """
        label = given.get("label")
        return self.sampler if label is None else self.sampler.labelled(label)


class Library:
    """The models of this machine, a few of them in memory.

    Args:
        load: reads a model; it is called in a thread.
        default: name of the model of a request that names none.
        given: further model files by name.
        config: limits: models in memory, texts and requests of each.
        log: takes words for whoever runs the server.

    Attributes:
        default: name of the model of a request that names none.
        config: the limits.
        scores: that all answers hold in memory.
    """

    def __init__(
        self, load: Load, default: str, given: dict[str, Path], config: ServeConfig, log: Log
    ) -> None:
        self._load, self.default, self._given = load, default, given
        self.config, self._log, self.scores = config, log, Scores()
        self._loaded = OrderedDict[str, Loaded]()  # the one used last at the end
        self._closing = set[asyncio.Task[None]]()
        self._loading: dict[str, asyncio.Task[Loaded]] = {}
        self._known: dict[str, Known] = {}
        self._listed = -LIST_SECONDS

    @property
    def loaded(self) -> list[Loaded]:
        """The models in memory."""
        return list(self._loaded.values())

    async def known(self) -> dict[str, Known]:
        """Return the models on disk by name, the default first."""
        if time.monotonic() - self._listed >= LIST_SECONDS:
            self._known = await asyncio.to_thread(known_models, self._given, self.default)
            self._listed = time.monotonic()
        return self._known

    @contextlib.asynccontextmanager
    async def use(self, name: str | None) -> AsyncIterator[Loaded]:
        """Hold a model in memory for a request.

        Raises:
            RequestError: there is no such model, or no place for it now.
        """
        loaded = await self._get(name or self.default)
        try:
            yield loaded
        finally:
            loaded.users -= 1

    async def _get(self, name: str) -> Loaded:
        """Return a model with one more user."""
        known = (await self.known()).get(name)
        if known is None:
            raise unknown_model(name, self._known)
        while True:
            found = self._loaded.get(name)
            if found is not None and found.known == known:
                break
            task = self._loading.get(name) or self._begin(known)
            known = (await asyncio.shield(task)).known  # others may wait for the same
        found.users += 1
        self._loaded.move_to_end(name)
        return found

    def _begin(self, known: Known) -> asyncio.Task[Loaded]:
        """Begin to load a model, in the place of another one if there are too many."""
        old = self._loaded.get(known.name)
        if old is None and len(self._loaded) + len(self._loading) >= self.config.models_in_memory:
            old = next((model for model in self.loaded if not model.users), None)
            if old is None:
                raise RequestError(
                    429, "all models in memory are in use; try again", code="models_busy"
                )
        if old is not None:
            self._unload(old)
        task = asyncio.create_task(self._read(known))
        self._loading[known.name] = task
        task.add_done_callback(lambda _: self._loading.pop(known.name))
        return task

    def _unload(self, model: Loaded) -> None:
        """Unload a model; the requests that still use it are finished."""
        del self._loaded[model.name]
        task = asyncio.create_task(_close_idle(model))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def warm(self) -> None:
        """Load the default model before the first request.

        Raises:
            ChargenError: it cannot be loaded.
        """
        await self._open((await self.known())[self.default])

    async def _read(self, known: Known) -> Loaded:
        try:
            return await self._open(known)
        except (ChargenError, OSError) as error:
            self._log(f"cannot load {known.name!r}: {error}")
            raise refusal(ChargenError()) from None

    async def _open(self, known: Known) -> Loaded:
        sampler = await asyncio.to_thread(self._load, known.path)
        scheduler = Scheduler(sampler, rows=self.config.batch_size, queue=self.config.queue)
        loaded = self._loaded[known.name] = Loaded(known, sampler, scheduler)
        return loaded

    async def close(self, seconds: float) -> None:
        """Finish what is running within a time, then end it."""
        await asyncio.gather(*(model.scheduler.close(seconds) for model in self.loaded))


async def _close_idle(model: Loaded) -> None:
    while model.users:
        await asyncio.sleep(0.05)
    await model.scheduler.close(0.0)


def known_models(given: dict[str, Path], default: str) -> dict[str, Known]:
    """Return the models on disk by name: the default, all runs from the newest on, base models."""
    runs = {run.name: run / MODEL for run in list_runs()}
    paths = {**runs, **{name: path for name, path in base_models().items() if name not in runs}}
    paths |= given
    found = dict[str, Known]()
    for name in sorted(paths, key=lambda name: name != default):
        with contextlib.suppress(OSError):  # a run without a model yet, or one that was removed
            changed = paths[name].stat().st_mtime_ns
            found[name] = Known(name, paths[name], changed, *_texts(paths[name], changed))
    return found


@functools.lru_cache(maxsize=4096)
def _texts(path: Path, changed: int) -> tuple[tuple[str, ...], str | None]:
    """Return the labels and the end of records of a model file that was changed at this time."""
    try:
        saved = read_model(path)
    except ChargenError:  # who asks for it is told
        return (), None
    return saved.config.labels, saved.reading.end


def unknown_model(name: str, known: dict[str, Known]) -> RequestError:
    """Return the error for a model that is not there."""
    names = [*map(repr, list(known)[:SHOWN]), *(["..."] if len(known) > SHOWN else [])]
    return RequestError(
        404,
        f"no model {name[:100]!r} here; known: {', '.join(names)}",
        param="model",
        code="model_not_found",
    )

"""TensorBoard logs of a run; an extra, ``pip install 'chargen[tensorboard]'``."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chargen.errors import ConfigError
from chargen.storage.files import cannot_write, make_folder
from chargen.training.events import Evaluated, Event, Progressed, Warned


def check_board() -> None:
    """Raise a ConfigError if the extra is not installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise ConfigError("--tensorboard needs an extra: pip install 'chargen[tensorboard]'")


def record(events: Iterable[Event], folder: Path) -> Iterator[Event]:
    """Log the values of events and yield the events unchanged; a failure later on is a warning.

    The writer is the one without a thread: where it cannot write, the other one waits for ever.

    Args:
        events: events of a run.
        folder: log directory of the run.

    Raises:
        StorageError: the folder cannot be made or written to.
    """
    from tensorboardX.event_file_writer import EventsWriter

    make_folder(folder)
    try:
        writer = EventsWriter(str(folder / "events"))
        writer.flush()
    except OSError as error:
        raise cannot_write(folder, error) from None
    working = True
    try:
        for event in events:
            yield event
            try:
                if working:
                    _write(writer, event)
            except OSError as error:
                working = False
                yield Warned(f"{cannot_write(folder, error)}; the run goes on without its log")
    finally:
        with contextlib.suppress(OSError):
            writer.close()


def _write(writer: Any, event: Event) -> None:
    from tensorboardX.proto.event_pb2 import Event as Logged
    from tensorboardX.summary import scalar

    scalars = list(_scalars(event))
    for name, value, step in scalars:
        summary = scalar(name, value)
        writer.write_event(Logged(wall_time=time.time(), step=step, summary=summary))
    if scalars:
        writer.flush()


def _scalars(event: Event) -> Iterator[tuple[str, float, int]]:
    if isinstance(event, Progressed):
        yield "characters_per_second", event.characters_per_second, event.step
    if isinstance(event, Evaluated):
        scalars = {
            "loss/train": event.train_loss,
            "loss/validation": event.val_loss,
            "bits_per_char/validation": event.val_bits_per_char,
        }
        yield from ((n, value, event.step) for n, value in scalars.items() if value is not None)

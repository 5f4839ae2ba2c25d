"""TensorBoard logs of a run; an extra, ``pip install 'chargen[tensorboard]'``."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from chargen.errors import ConfigError
from chargen.training.events import Evaluated, Event, Progressed


def check_board() -> None:
    """Raise a ConfigError if the extra is not installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise ConfigError("--tensorboard needs an extra: pip install 'chargen[tensorboard]'")


def record(events: Iterable[Event], folder: Path) -> Iterator[Event]:
    """Log the values of events and yield the events unchanged.

    Args:
        events: events of a run.
        folder: log directory of the run.
    """
    from tensorboardX import SummaryWriter

    with contextlib.closing(SummaryWriter(str(folder))) as writer:
        for event in events:
            for name, value, step in _scalars(event):
                writer.add_scalar(name, value, step)
            yield event


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

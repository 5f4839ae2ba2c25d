"""The losses of a run for TensorBoard: an extra, ``pip install 'chargen[tensorboard]'``."""

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
    """Write the figures of events as they come and pass the events on.

    Args:
        events: of a run.
        folder: where TensorBoard looks for this run.
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
        figures = {
            "loss/train": event.train_loss,
            "loss/validation": event.val_loss,
            "bits_per_char/validation": event.val_bits_per_char,
        }
        yield from ((n, value, event.step) for n, value in figures.items() if value is not None)

"""Every option of every command is used: changed, it changes what the command says or does."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargen.cli.board import record
from chargen.training.events import Event, Evaluated, Warned
from tests.conftest import Run, needs_torch, write

QUICK = ("--steps", "3", "--hidden", "8", "--layers", "1", "--threads", "1", "-q")


# -- the log for TensorBoard --------------------------------------------------------------


@needs_torch
def test_a_log_that_cannot_be_written_is_refused(chargen: Run, prose: str) -> None:
    write("text", prose)
    for place in ("text", "text/log"):
        done = chargen("train", "text", "--name", "a", "--tensorboard", place, *QUICK)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(f"chargen: cannot write '{place}/a': Not a directory; ")
    assert not Path("checkpoints/a").exists()


def test_a_full_disk_for_the_log_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = pytest.importorskip("tensorboardX.event_file_writer")
    written: list[object] = []

    def write_event(self: object, event: object) -> None:
        written.append(event)
        if len(written) > 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.EventsWriter, "write_event", write_event)
    events = [Evaluated(step, 9, 1.0, 1.0, 1.0, 1.0, True, "") for step in range(4)]
    told: list[Event] = list(record(events, Path("log")))
    (warned,) = [event for event in told if isinstance(event, Warned)]
    assert "cannot write 'log': No space left on device" in warned.words
    assert "the run goes on without its log" in warned.words
    assert [event for event in told if event is not warned] == events
    assert len(written) == 5

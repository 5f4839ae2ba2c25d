"""Every option of every command is used: changed, it changes what the command says or does."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargen.cli.board import record
from chargen.training.events import Evaluated, Event, Warned
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


# -- options that a run takes no part of --------------------------------------------------


@needs_torch
def test_what_a_byte_model_does_not_do_is_refused(chargen: Run, prose: str) -> None:
    write("text", prose)
    assert chargen("train", "text", "--name", "a", "--tokenizer", "byte", *QUICK).returncode == 0
    for begun in (("--tokenizer", "byte"), ("--init-from", "a")):
        done = chargen("train", "text", *begun, "--newlines", "fold", *QUICK[-3:])
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "leave --newlines fold out" in done.stderr
    write("again.toml", chargen("info", "-m", "a", "--toml").stdout)
    again = chargen("train", "text", "--config", "again.toml", "--name", "b", *QUICK[-3:])
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--init-from", "small", "--forget-bias", "3"), "leave --forget-bias out"),
        (("--init-from", "small", "--recurrent-init", "identity"), "leave --recurrent-init out"),
        (("--init-from", "small", "--input-init", "orthogonal"), "leave --input-init out"),
        (("--init-from", "small", "--recurrent-scale", "2"), "leave --recurrent-scale out"),
        (("--json", "--quiet"), "--json and --quiet cannot be combined; leave one out"),
        (
            ("--optimizer", "sgd", "--weight-decay", "0.1"),
            "weight decay is 0.1; allowed: 0, unless",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(
    chargen: Run, with_model: Path, options: tuple[str, ...], words: str
) -> None:
    write("text", "to be or not to be. " * 9)
    done = chargen("train", "text", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr

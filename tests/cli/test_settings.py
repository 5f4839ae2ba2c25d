"""Presets and settings files: what counts more, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.cli.board import record
from chargen.cli.settings import read_settings, to_toml
from chargen.errors import ConfigError
from chargen.model.options import PRESETS, ModelOptions
from chargen.model.saved import read_model
from chargen.model.spec import format_stack
from chargen.training.events import Evaluated, Event, Warned
from tests.conftest import Run, needs_torch, write

QUICK = ("--threads", "1", "--steps", "2", "--name", "a", "--force", "-q", "--precision", "float32")


def settings_of_run() -> dict[str, Any]:
    header = read_model(Path("checkpoints/a/model.safetensors"))
    return {**header.training["config"], "stack": format_stack(header.config.layers)}


def test_the_command_line_counts_more_than_a_preset_and_that_more_than_a_file(
    chargen: Run, prose: str
) -> None:
    text = write("text.txt", prose[:3000])
    write("my.toml", 'hidden = 16\nbatch-size = 3\nclip = 0.5\nlearning-rate = 1e-3\ntime = "1h"\n')
    assert (
        chargen("train", text, "--config", "my.toml", "--batch-size", "4", *QUICK).returncode == 0
    )
    got = settings_of_run()
    assert (got["batch_size"], got["clip"], got["learning_rate"]) == (4, 0.5, 0.001)
    assert (got["stack"], got["time"]) == ("lstm:16", 3600.0)
    preset = ("--preset", "tiny", "--config", "my.toml", "--cell", "gru")
    done = chargen("train", text, *preset, *QUICK)
    assert done.returncode == 0, done.stderr
    assert settings_of_run()["stack"] == "gru:128"
    assert settings_of_run()["batch_size"] == 3
    write("named.toml", 'preset = "tiny"\nhidden = 8\n')
    assert chargen("train", text, "--config", "named.toml", *QUICK).returncode == 0
    assert settings_of_run()["stack"] == "lstm:8"


def test_a_run_prints_settings_that_train_it_again(chargen: Run, prose: str) -> None:
    text = write("text.txt", prose[:3000])
    assert chargen("train", text, "--hidden", "12", "--layers", "2", *QUICK).returncode == 0
    first, weights = settings_of_run(), Path("checkpoints/a/model.safetensors").read_bytes()
    printed = chargen("info", "--toml").stdout
    assert re.search(r"^dropout = 0\.\d+$", printed, re.MULTILINE)
    write("again.toml", printed)
    quick = [option for option in QUICK if option not in ("--steps", "2")]
    assert chargen("train", text, "--config", "again.toml", *quick).returncode == 0
    assert settings_of_run() == first
    again = Path("checkpoints/a/model.safetensors").read_bytes()
    assert weights[-500:] == again[-500:]  # the last weights


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("hiden = 3", "says hiden = 3; allowed: base, batch-size, bptt, cell, clip"),
        ("corpus = 'a'", "says corpus = 'a'; allowed"),
        ("hidden = [3]", "says hidden = [3]; allowed"),
        ("hidden = true", "says hidden = True; allowed"),
        ("hidden = 0.5", "Invalid value for '--hidden'"),
        ("hidden = ", "is not TOML: Invalid value (at end of document)"),
        ("preset = 'big'", "preset is 'big'; allowed: tiny, small, base, large, huge, giant"),
        (b"\xff", "is not TOML: 'utf-8' codec can't decode"),
    ],
)
def test_a_wrong_file_is_refused(chargen: Run, content: str | bytes, words: str) -> None:
    write("my.toml", content)
    done = chargen("train", "text.txt", "--config", "my.toml")
    told = re.sub(r"[\s│]+", " ", done.stderr)
    assert done.returncode == 2
    assert words in told
    assert "Traceback" not in told
    assert not Path("checkpoints").exists()


def test_a_missing_file_is_refused(chargen: Run) -> None:
    done = chargen("train", "text.txt", "--config", "no.toml")
    assert done.returncode == 2
    assert "cannot read --config 'no.toml': No such file" in done.stderr


@given(
    st.dictionaries(
        st.sampled_from(["cell", "batch_size", "learning_rate", "newlines", "seed"]),
        st.none() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["gru", "a-b"]),
    )
)
def test_settings_that_are_written_can_be_read(settings: dict[str, Any]) -> None:
    path = write("round.toml", to_toml(settings))
    wanted = {name: str(value) for name, value in settings.items() if value is not None}
    assert read_settings(path, list(settings)) == wanted


@pytest.mark.parametrize(
    ("options", "stacks"),
    [
        ({}, [f"{','.join([f'lstm:{hidden}'] * count)}" for count, hidden in PRESETS.values()]),
        ({"hidden": 20}, ["lstm:20", "lstm:20,lstm:20"]),
        ({"hidden": 20, "layers": 3}, ["lstm:20,lstm:20,lstm:20"]),
        ({"cell": "gru", "layers": 1}, ["gru:128", "gru:256", "gru:512", "gru:768", "gru:1024"]),
        ({"stack": "gru:3,rnn:4"}, ["gru:3,rnn:4"]),
    ],
)
def test_candidates_keep_what_was_asked_for(options: dict[str, Any], stacks: list[str]) -> None:
    assert [format_stack(layers) for layers in ModelOptions(**options).stacks()] == stacks


def test_a_stack_leaves_nothing_to_other_options() -> None:
    with pytest.raises(ConfigError, match="--stack says it all; leave --preset, --cell"):
        ModelOptions(stack="gru:3", cell="gru", layers=2)


def test_events_can_be_read_by_programs(chargen: Run, prose: str) -> None:
    text = write("text.txt", prose[:4000])
    done = chargen("train", text, "--hidden", "8", "--threads", "1", "--steps", "30", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1]) == ("start", "end")
    assert set(kinds) <= {"start", "progress", "evaluation", "warning", "end"}
    evaluation = next(event for event in events if event["event"] == "evaluation")
    assert evaluation["val_loss"] > 0
    assert events[-1]["final_val_loss"] > 0
    assert len(events[-1]["advice"]) == 2
    assert "val " not in done.stderr


def test_losses_are_written_for_tensorboard(chargen: Run, prose: str) -> None:
    text = write("text.txt", prose[:4000])
    done = chargen("train", text, "--hidden", "8", "--tensorboard", "board", *QUICK)
    assert (done.returncode, done.stdout) == (0, "")
    (file,) = Path("board/a").iterdir()
    data = file.read_bytes()
    assert all(tag in data for tag in (b"loss/train", b"loss/validation", b"bits_per_char/valid"))


@needs_torch
def test_a_log_that_cannot_be_written_is_refused(chargen: Run, prose: str) -> None:
    write("text", prose)
    for place in ("text", "text/log"):
        done = chargen(
            "train", "text", "--name", "a", "--tensorboard", place, "--hidden", "8", *QUICK[:-2]
        )
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

"""The session with labels and records: /label, a new record after each end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chargen.config import SampleConfig
from chargen.errors import ConfigError
from chargen.repl import Session, commands
from chargen.repl.commands import Generation, Message, answer
from chargen.sampling.sampler import load
from tests.labelled import LINES, ROWS, save_labelled

A, B = set("abcde"), set("vwxyz")


def session(**reading: Any) -> Session:
    path = save_labelled(Path("model/model.safetensors"), **reading)
    return Session(load(path, threads=1), SampleConfig(length=200, seed=1))


def say(ours: Session, line: str, *, own_line: bool = False) -> str:
    """Return the message, or the text that was generated."""
    match answer(ours, line, own_line=own_line):
        case Message(text):
            return text
        case Generation() as generation:
            return "".join(generation.pieces)
    raise AssertionError(line)


def reread(ours: Session) -> None:
    """Check that the state is that of the text with its label."""
    assert ours.state
    expected = ours.sampler.read(ours.text).logits
    np.testing.assert_allclose(ours.state.logits, expected, atol=1e-5)


def test_a_label_takes_effect_on_the_text_so_far() -> None:
    ours = session(**LINES)
    assert set(say(ours, "ab")) & B
    assert say(ours, "/label a") == "label is a"
    reread(ours)
    for _ in range(3):
        assert set(say(ours, "")) <= {*A, "\n"}
    assert say(ours, "/label a=0.2,b=0.8") == "label is a=0.2,b=0.8"
    assert say(ours, "/label b") == "label is b"
    assert set(say(ours, "")) <= {*B, "\n"}
    reread(ours)
    assert say(ours, "/undo").startswith("undone")
    say(ours, "/undo")
    assert ours.draft.label == "a=0.2,b=0.8"
    assert say(ours, "/label none") == "label is none"
    reread(ours)


def test_labels_are_listed_and_completed_and_wrong_ones_change_nothing() -> None:
    ours = session(**ROWS)
    say(ours, "/label b")
    assert say(ours, "/label").splitlines()[:3] == ["  a", "* b", "  a, or b=c"]
    assert list(commands.find("/label").values(ours)) == ["a", "b", "a, or b=c", "none"]
    with pytest.raises(ConfigError, match="label is 'c'; allowed: 'a', 'b', 'a, or b=c'"):
        say(ours, "/label c")
    assert ours.draft.label == "b"
    say(ours, "/branch here")
    say(ours, "/label a")
    say(ours, "/go here")
    assert ours.draft.label == "b"
    say(ours, "/reset")
    assert ours.draft.label == "b"


@pytest.mark.parametrize("reading", [LINES, ROWS])
def test_each_turn_after_an_end_begins_a_record(reading: dict[str, str]) -> None:
    ours = session(**reading)
    end = ours.sampler.reading.end
    assert end
    say(ours, "/label a")
    for _ in range(3):
        assert say(ours, "").endswith(end)
    assert ours.text.count(end) == 3
    begun = ours.sampler.read("").logits
    assert ours.state
    np.testing.assert_allclose(ours.state.logits, begun, atol=1e-5)
    say(ours, "abc")
    assert f"{end}abc" in ours.text
    last = ours.heat()
    assert last[0].text == "a"
    assert {token.text for token in last} <= {*A, end}
    assert sum(token.bits for token in last) / len(last) < 5


def test_lines_of_a_pipe_are_records() -> None:
    ours = session(**LINES)
    say(ours, "/label b")
    for line in ("v", "w", "x"):
        say(ours, line, own_line=True)
    lines = ours.text.splitlines()
    assert [line[0] for line in lines] == ["v", "w", "x"]
    assert set("".join(lines)) <= B


def test_a_model_without_labels_says_so() -> None:
    path = save_labelled(Path("plain/model.safetensors"), labels=())
    ours = Session(load(path, threads=1))
    assert say(ours, "/label") == "the model has no labels"
    with pytest.raises(ConfigError, match="the model has no labels; train one with --label"):
        say(ours, "/label a")

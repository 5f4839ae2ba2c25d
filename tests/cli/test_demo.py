"""``chargen demo``: one screen, in a pipe and in a terminal."""

from __future__ import annotations

from tests.cli.test_terminal import Terminal
from tests.conftest import Run

PARTS = ("It writes", "It completes while you type", "It reads", "Go on from here")


def test_one_screen_in_a_pipe(chargen: Run) -> None:
    done = chargen("demo", "The cat sat on the mat and slept.")
    assert done.returncode == 0, done.stderr
    places = [done.stdout.index(part) for part in PARTS]
    assert places == sorted(places)
    assert "  The cat sat on the mat and sle" in done.stdout
    assert len(done.stdout.splitlines()) < 40
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "characters per second on this computer" in done.stderr


def test_a_sentence_is_asked_for_at_a_terminal() -> None:
    terminal = Terminal("demo")
    terminal.wait_for("Now a sentence of yours")
    terminal.type("My house is small\r")
    terminal.wait_for("chargen --help")
    assert "  My house is sma" in terminal.shown
    assert terminal.end() == 0

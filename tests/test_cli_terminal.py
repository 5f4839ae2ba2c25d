"""The command on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path

import chargen
from chargen.output import visible
from tests.conftest import write

# -- a terminal ---------------------------------------------------------------------------


PROMPT = "\x1b[6n"  # prompt_toolkit asks for the cursor when it begins a prompt


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.shown, self._answered = "", 0
        pid, self._descriptor = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
            os.environ.pop("NO_COLOR", None)
            os.execv(sys.executable, [sys.executable, "-m", "chargen", *arguments])
        self._pid = pid

    def wait_for(self, text: str, times: int = 1, after: str = "") -> None:
        deadline = time.monotonic() + 60
        while self.shown[self.shown.find(after) :].count(text) < times:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._descriptor], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._descriptor, 65536).decode("utf-8", "replace")
                except OSError:  # the process has ended
                    assert text in self.shown, self.shown
                    return
            while self._answered < self.shown.count("\x1b[6n"):  # where is the cursor?
                self._answered += 1
                os.write(self._descriptor, b"\x1b[1;1R")

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def end(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(status)


def test_a_terminal_shows_a_bar_and_samples(prose: str) -> None:
    write("text.txt", prose)
    terminal = Terminal("train", "text.txt", "--hidden", "16", "--time", "10s", "--threads", "1")
    terminal.wait_for("chars/s  train")
    terminal.wait_for("│")
    terminal.wait_for("write with it")
    assert terminal.end() == 0
    assert "━" in terminal.shown


def test_the_repl_in_a_terminal(with_model: Path) -> None:
    terminal = Terminal("repl", "-n", "100000", "--seed", "1")
    terminal.wait_for(PROMPT)
    terminal.type("The \r")
    terminal.wait_for("The ", after=PROMPT)
    time.sleep(0.5)
    terminal.type("\x03")  # stops the text
    terminal.wait_for(PROMPT, times=2)
    terminal.type("\x03")  # leaves the line
    terminal.wait_for(PROMPT, times=3)
    terminal.type("/temp 0.5\r")
    terminal.wait_for("temp is 0.5")
    terminal.wait_for(PROMPT, times=4)
    terminal.type("\x04")
    assert terminal.end() == 0


def test_control_characters_are_shown_and_never_obeyed() -> None:
    assert visible("a\x1b[31m\n\t\x07\x7f\x9b") == "a␛[31m\n\t␇␡\ufffd"


def test_the_python_face_is_typed() -> None:
    assert (Path(chargen.__file__).parent / "py.typed").exists()

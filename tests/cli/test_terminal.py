"""The command on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path

import chargen
from chargen.display.output import visible
from tests.conftest import needs_torch, write
from tests.processes import reap

# -- a terminal ---------------------------------------------------------------------------


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.shown = ""
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
                    data = os.read(self._descriptor, 65536)
                except OSError:
                    data = b""
                self.shown += data.decode("utf-8", "replace")
                if not data:  # the process has ended
                    assert text in self.shown, self.shown
                    return

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def end(self) -> int:
        status = reap(self._pid, 30)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(status)


@needs_torch
def test_a_terminal_shows_a_bar_and_samples(prose: str) -> None:
    write("text.txt", prose)
    terminal = Terminal("train", "text.txt", "--hidden", "16", "--time", "10s", "--threads", "1")
    terminal.wait_for("chars/s  train")
    terminal.wait_for("│")
    terminal.wait_for("generate with")
    assert terminal.end() == 0
    assert "━" in terminal.shown


def test_control_characters_are_shown_and_never_obeyed() -> None:
    assert visible("a\x1b[31m\n\t\x07\x7f\x9b") == "a␛[31m\n\t␇␡\ufffd"


def test_the_python_face_is_typed() -> None:
    assert (Path(chargen.__file__).parent / "py.typed").exists()

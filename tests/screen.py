"""A terminal of 24 rows and 80 columns: what a person sees of what a program writes."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import time
from collections.abc import Callable

from rich.cells import cell_len

from tests.processes import reap

ROWS, COLUMNS = 24, 80
PATIENT = """
from chargen.repl import assist

assist.GHOST = 9.0  # ghost text is whole however slow the machine is
from chargen.cli import main

main()
"""
Cell = tuple[str, str]  # a character and its colours
SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


class Screen:
    """Cells, and the lines that went out at the top."""

    def __init__(self) -> None:
        self.row = self.column = 0
        self.colours = "0"
        self.cells: list[dict[int, Cell]] = [{} for _ in range(ROWS)]
        self.gone: list[str] = []
        self.odd: list[str] = []  # control characters that move nothing here
        self._rest = ""

    def feed(self, text: str) -> None:
        """Obey all that came but a sequence that is not whole yet."""
        text, self._rest = self._rest + text, ""
        while text:
            if text.startswith("\x1b"):
                found = SEQUENCE.match(text)
                if found is None and re.fullmatch(r"\x1b(\[[?0-9;]*)?", text):
                    self._rest = text
                    return
                assert found, text[:20]
                self._obey(found[1], found[2])
                text = text[found.end() :]
            else:
                self._put(text[0])
                text = text[1:]

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == ROWS:
                self.gone.append(self.line(0))
                self.cells = [*self.cells[1:], {}]
                self.row -= 1
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif ord(character) < 32 or 127 <= ord(character) < 160:
            self.odd.append(character)
        else:
            width = max(1, cell_len(character))
            assert self.column + width <= COLUMNS, "a line is longer than the terminal is wide"
            for column, part in enumerate((character, "")[:width], self.column):
                self.cells[self.row][column] = (part, self.colours)
            self.column += width

    def _obey(self, numbers: str, letter: str) -> None:
        count = int(numbers) if numbers.isdigit() else 1
        if letter == "m":
            self.colours = numbers
        elif letter in "AB":
            self.row = min(ROWS - 1, max(0, self.row + (count if letter == "B" else -count)))
        elif letter in "CD":
            column = self.column + (count if letter == "C" else -count)
            self.column = min(COLUMNS - 1, max(0, column))
        elif letter in "JK":
            for row in range(self.row, ROWS if letter == "J" else self.row + 1):
                kept = self.cells[row].items() if row == self.row else ()
                self.cells[row] = {c: cell for c, cell in kept if c < self.column}

    def line(self, row: int) -> str:
        """Return the characters of a row."""
        cells = self.cells[row]
        width = max(cells, default=-1) + 1
        return "".join(cells.get(column, (" ", ""))[0] for column in range(width)).rstrip()

    def text(self) -> str:
        """Return everything written so far that was not erased."""
        return "\n".join([*self.gone, *map(self.line, range(ROWS))])

    def coloured(self, colours: str) -> str:
        """Return the characters on the screen whose colours contain a code."""
        cells = [row[column] for row in self.cells for column in sorted(row)]
        return "".join(c for c, own in cells if re.search(rf"(^|;){colours}($|;)", own))


class Watched:
    """The command on a pseudo-terminal, with a screen that is looked at."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.screen, self.shown = Screen(), ""
        pid, self._descriptor = pty.fork()
        if pid == 0:
            os.environ.pop("NO_COLOR", None)
            os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24", **environment)
            os.execv(sys.executable, [sys.executable, "-c", PATIENT, *arguments])
        self._pid = pid

    def until(self, seen: Callable[[Screen], object]) -> None:
        """Wait until something can be seen."""
        deadline = time.monotonic() + 30
        while not seen(self.screen):
            assert time.monotonic() < deadline, f"{self.screen.text()}\n{self.shown[-2000:]!r}"
            assert self._take(0.1), self.screen.text()

    def see(self, text: str) -> None:
        """Wait until a text stands on the screen."""
        self.until(lambda screen: text in screen.text())

    def _take(self, seconds: float) -> bool:
        """Show what comes; False when the process has ended."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._descriptor, 65536).decode("utf-8", "replace")
        except OSError:
            return False
        self.shown += data
        for part in re.split(r"(?<=\x1b\[6n)", data):
            self.screen.feed(part)
            if part.endswith("\x1b[6n"):  # where is the cursor?
                answer = f"\x1b[{self.screen.row + 1};{self.screen.column + 1}R"
                os.write(self._descriptor, answer.encode())
        return bool(data)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._descriptor, keys.encode("utf-8", "surrogateescape"))

    def end(self) -> int:
        """Return the exit code once the process has ended."""
        deadline = time.monotonic() + 30
        while self._take(0.1):
            assert time.monotonic() < deadline, self.screen.text()
        status = reap(self._pid, 30)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(status)

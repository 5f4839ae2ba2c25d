"""Generated text on its way out: raw in a pipe, harmless on a terminal."""

from __future__ import annotations

import io
import os
import sys
from typing import IO

# Control characters as their pictures, so that no text can drive a terminal.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: "\u2421", **dict.fromkeys(range(0x80, 0xA0), "\ufffd")}


def visible(text: str) -> str:
    """Return a text with its control characters made visible."""
    return text.translate(_PICTURES)


class Output:
    """A stream that generated text is written to, as UTF-8 whatever the locale says."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._terminal, self._last = stream, stream.isatty(), "\n"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", newline="\n")

    def write(self, text: str) -> None:
        """Write and flush, so that a reader sees each piece as it comes."""
        self._stream.write(visible(text) if self._terminal else text)
        self._stream.flush()
        self._last = text[-1:] or self._last

    def end(self) -> None:
        """Leave a terminal at the beginning of a line; in a pipe nothing is added."""
        if self._terminal and self._last != "\n":
            self._stream.write("\n")
            self._stream.flush()


def leave_closed_pipe() -> None:
    """Point stdout nowhere once its reader has gone, so that Python's exit is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

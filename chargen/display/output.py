"""Output of generated text: raw in a pipe, without control characters on a terminal."""

from __future__ import annotations

import io
import os
import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from chargen.tokenizers import Tokenizer

# Control characters as visible symbols, so that no text can control the terminal.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: "\u2421", **dict.fromkeys(range(0x80, 0xA0), "\ufffd")}


def visible(text: str) -> str:
    """Return a text with its control characters made visible."""
    return text.translate(_PICTURES)


def unknown_note(tokenizer: Tokenizer, text: str) -> str | None:
    """Return a sentence that names the unknown characters of a text; None if there are none."""
    unknown = tokenizer.unknown_characters(text)
    if not unknown:
        return None
    names = ", ".join(repr(character) for character in unknown[:10])
    more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
    return f"not in the model's vocabulary: {names}{more}; read as unknown characters (UNK)"


class Output:
    """Stream for generated text, always in UTF-8 regardless of the locale."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._terminal, self._last = stream, stream.isatty(), "\n"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", newline="\n")

    def write(self, text: str) -> None:
        """Write and flush, so that each piece appears at once."""
        self._stream.write(visible(text) if self._terminal else text)
        self._stream.flush()
        self._last = text[-1:] or self._last

    def end(self) -> None:
        """End the line on a terminal; a pipe gets nothing more."""
        if self._terminal and self._last != "\n":
            self._stream.write("\n")
            self._stream.flush()


def leave_closed_pipe() -> None:
    """Redirect stdout to the null device after its reader has closed it, for a silent exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

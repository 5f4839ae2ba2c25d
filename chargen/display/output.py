"""Output of generated text: raw in a pipe, without control characters on a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from typing import IO, TYPE_CHECKING

from chargen.errors import ClosedPipeError, OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from chargen.tokenizers import Tokenizer

# Control characters as visible symbols, so that no text can control the terminal.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: "\u2421", **dict.fromkeys(range(0x80, 0xA0), "\ufffd")}
_PICTURES |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # bytes that are not UTF-8


def visible(text: str) -> str:
    """Return a text with its control characters, and bytes that are no text, made visible."""
    return text.translate(_PICTURES)


def quoted(text: str) -> str:
    """Return a text in quotes, its control characters and bytes that are not UTF-8 as escapes."""
    # An even number of backslashes before it are those of the text.
    return re.sub(r"(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])", r"\1\\x\2", repr(text))


def unknown_note(tokenizer: Tokenizer, text: str) -> str | None:
    """Return a sentence that names the unknown characters of a text; None if there are none."""
    unknown = tokenizer.unknown_characters(text)
    if not unknown:
        return None
    names = ", ".join(repr(character) for character in unknown[:10])
    more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
    return f"not in the model's vocabulary: {names}{more}; read as unknown characters (UNK)"


class Output:
    """Stream for generated text, always in UTF-8 regardless of the locale.

    In a pipe, the bytes of a byte model that are not UTF-8 are written as they are.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._terminal, self._last = stream, stream.isatty(), "\n"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")

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


# -- the standard streams of the process --------------------------------------------------


def prepare_streams() -> None:
    """Make the standard streams safe: none is closed, none fails with a traceback.

    Characters that the encoding of the terminal lacks are written as escapes. What cannot be
    written to stdout is an ``OutputError``, which the libraries that print for us do not catch as
    they catch ``BrokenPipeError``; what cannot be written to stderr is dropped.
    """
    _open_closed()
    sys.stdout = _guarded(sys.stdout, _Stdout)
    sys.stderr = _guarded(sys.stderr, _Stderr)


def _open_closed() -> None:
    """Put the null device where a standard stream is closed, lest a file of ours take its number.

    Reading finds the end; writing to stdout fails, as it would have.
    """
    flags = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
    for number, (name, flag) in enumerate(flags.items()):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flag)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            raw = io.FileIO(number, "r" if name == "stdin" else "w", closefd=False)
            buffer = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8"))


class _Stdout(io.FileIO):
    """Raw stdout; what it cannot take is an error of ours."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ClosedPipeError("standard output is closed") from None
        except OSError as error:
            reason = f"cannot write to standard output: {error.strerror}"
            raise OutputError(f"{reason}; make room, or send it elsewhere") from None


class _Stderr(io.FileIO):
    """Raw stderr; what it cannot take is lost, and the work goes on."""

    def write(self, data: ReadableBuffer, /) -> int:
        with contextlib.suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def _guarded(stream: IO[str], kind: type[io.FileIO]) -> IO[str]:
    """Return a text stream like another one over a guarded file."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is no buffer between
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(raw, io.FileIO):
        return stream  # a test's, or the console of Windows
    file = kind(raw.fileno(), "w", closefd=False)
    guarded = io.TextIOWrapper(
        file if raw is buffer else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    stream.detach()
    return guarded

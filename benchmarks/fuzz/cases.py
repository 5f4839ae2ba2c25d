"""Cases of a kind: made from a seed, run in this process, reduced to what breaks."""

from __future__ import annotations

import contextlib
import io
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import typer

from chargen.cli import app

COMMAND = typer.main.get_command(app)
LONGEST = 3000  # characters of a report


class BrokenError(Exception):
    """A case that breaks what its kind claims; the message says how."""


class Kind(Protocol):
    """A kind of cases; a case is a list of parts, some of which may be left out."""

    def make(self, chosen: random.Random) -> list[Any]:
        """Return a random case."""

    def check(self, case: list[Any]) -> None:
        """Run a case; raise BrokenError if it breaks the claim."""

    def told(self, case: list[Any]) -> str:
        """Return the commands that show the case."""


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        code: its exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: bytes
    err: str

    @property
    def refusal(self) -> str:
        """The line in which the command refused; empty if it ran."""
        lines = [line for line in self.err.splitlines() if not line.endswith("(UNK)")]
        return lines[-1] if self.code and lines else ""


def call(*arguments: str, stdin: bytes = b"") -> Outcome:
    """Run a command in this process as the shell would.

    Raises:
        BrokenError: it ended in a traceback, or refused in anything but one clear line.
    """
    out, err = _stream(io.BytesIO()), _stream(io.BytesIO())
    with _streams(_stream(io.BufferedReader(io.BytesIO(stdin))), out, err):
        code = _code(arguments)
    told = _bytes(err).decode("utf-8", "replace")
    outcome = Outcome(code, _bytes(out), told)
    if code and not outcome.refusal.startswith("chargen: "):
        raise BrokenError(f"exit code {code}, but says {told!r}")
    if "Traceback" in told:
        raise BrokenError(told)
    return outcome


def _code(arguments: tuple[str, ...]) -> int:
    try:
        return int(COMMAND.main([*arguments], prog_name="chargen", standalone_mode=False) or 0)
    except SystemExit as end:
        return int(end.code or 0)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what typer says of a wrong command line
            raise
        print(f"chargen: {error.format_message()}", file=sys.stderr)
        return 2


def _stream(buffer: io.BytesIO | io.BufferedReader) -> io.TextIOWrapper:
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace")


def _bytes(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    data = stream.buffer
    assert isinstance(data, io.BytesIO)
    return data.getvalue()


@contextlib.contextmanager
def _streams(*streams: io.TextIOWrapper) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


# -- running ------------------------------------------------------------------------------


def fault(kind: Kind, case: list[Any]) -> str:
    """Return what is wrong with a case; empty if nothing is."""
    try:
        kind.check(case)
    except BrokenError as broken:
        return str(broken)
    except Exception as error:
        import traceback

        frames = traceback.format_tb(error.__traceback__)[-3:]
        return f"traceback: {type(error).__name__}: {error}\n{''.join(frames)}"
    return ""


def reduced(kind: Kind, case: list[Any]) -> list[Any]:
    """Return a case with fewer parts that is broken in the same way; the first part stays."""
    number, wrong = 1, fault(kind, case).partition("\n")[0]
    while number < len(case):
        less = [*case[:number], *case[number + 1 :]]
        if fault(kind, less).partition("\n")[0] == wrong:
            case = less
        else:
            number += 1
    return case


def run(name: str, kind: Kind, count: int, seed: int, say: Callable[[str], None]) -> int:
    """Run cases of a kind, each from its own seed; return how many were broken."""
    broken = 0
    for number in range(seed, seed + count):
        case = kind.make(random.Random(f"{name} {number}"))
        if fault(kind, case):
            broken += 1
            less = reduced(kind, case)
            why = fault(kind, less)
            again = f"python -m benchmarks.fuzz --kind {name} --seed {number} --cases 1"
            say(
                f"BROKEN {name}, seed {number} ({again})\n{kind.told(less)}\n{why}"[:LONGEST] + "\n"
            )
    return broken

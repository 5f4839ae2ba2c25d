"""What helps while a line is typed: ghost text, alternatives, completion of commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from chargen.display.output import visible
from chargen.errors import ConfigError, TokenizerError
from chargen.repl import Session, commands
from chargen.repl.ghost import Foresight
from chargen.repl.screen import fitting

GHOST = 0.012  # seconds for ghost text: a hundred steps of 2 x 512, where nobody else computes


class Typing(Protocol):
    """A line that is being typed."""

    session: Session

    def foresight(self) -> Foresight | None:
        """Return what looks ahead from where the text stands; None while text is written."""
        ...

    def room(self, line: str) -> int:
        """Return how many columns are free behind a line."""
        ...


class Ghost(AutoSuggest):
    """The model's likeliest continuation of the line, as a suggestion."""

    def __init__(self, typing: Typing) -> None:
        self._typing = typing

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """Return what the model would write up to the end of the line, if anything."""
        foresight = self._typing.foresight()
        line = document.text
        if not line or is_command(line) or not document.is_cursor_at_the_end or foresight is None:
            return None
        room = self._typing.room(line)
        with contextlib.suppress(TokenizerError):
            text = self._typing.session.continued(unslashed(line))
            return Suggestion(fitting(foresight.ghost(text, room, GHOST), room))
        return None


class Alternatives(Completer):
    """Commands and their arguments; elsewhere, when asked for, what else the model would write."""

    def __init__(self, typing: Typing) -> None:
        self._typing = typing
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Yield what could follow the cursor."""
        line = document.text_before_cursor
        if not is_command(line):
            return self._words(line) if event.completion_requested else ()
        if " " not in line:
            return self._commands(line)
        return self._arguments(line, event)

    def _words(self, line: str) -> Iterator[Completion]:
        foresight = self._typing.foresight()
        if foresight is None:
            return
        with contextlib.suppress(TokenizerError):
            # An empty line still begins one, for what is taken is then typed.
            text = self._typing.session.continued(unslashed(line) or " ")
            for words, chance in foresight.alternatives(text if line else text[:-1]):
                shown = visible(words).replace("\n", "\u23ce").replace(" ", "\u00b7")
                yield Completion(words, display=shown, display_meta=f"{100 * chance:.2g} %")

    def _commands(self, line: str) -> Iterator[Completion]:
        for command in commands.COMMANDS:
            name = f"/{command.name}"
            if name.startswith(line):
                usage = f"{name} {command.argument}".strip()
                yield Completion(name, -len(line), display=usage, display_meta=command.help)

    def _arguments(self, line: str, event: CompleteEvent) -> Iterable[Completion]:
        name, _, value = line.partition(" ")
        with contextlib.suppress(ConfigError):
            command = commands.find(name)
            if command.argument == commands.FILE:
                return self._paths.get_completions(Document(value), event)
            values = command.values(self._typing.session).items()
            return [
                Completion(text, -len(value), display=visible(text), display_meta=visible(help))
                for text, help in values
                if text.startswith(value)
            ]
        return ()


def is_command(line: str) -> bool:
    """Tell whether a line is a command and no text."""
    return line.startswith("/") and not line.startswith("//")


def remaining(line: str, ghost: str, text: str) -> str:
    """Return what is left of a line's ghost text when the line has become a text along it."""
    along = text.startswith(line) and (line + ghost).startswith(text)
    return (line + ghost)[len(text) :] if along else ""


def unslashed(line: str) -> str:
    """Return the text that a line stands for: two slashes begin it with one."""
    return line.removeprefix("/")

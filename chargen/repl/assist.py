"""Assistance while a line is typed: ghost text, alternatives, completion of commands."""

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
from chargen.sampling.ghost import Lookahead

GHOST = 0.012  # seconds for ghost text: a hundred steps of 2 x 512 on an idle machine


class Typing(Protocol):
    """A line that is being typed."""

    session: Session

    def lookahead(self) -> Lookahead | None:
        """Return the lookahead from the end of the text; None while text is generated."""
        ...

    def columns(self) -> int:
        """Return the width of the terminal."""
        ...


class Ghost(AutoSuggest):
    """Ghost text: the greedy continuation of the line, as a suggestion."""

    def __init__(self, typing: Typing) -> None:
        self._typing = typing

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """Return the continuation, if any; it has at most a row of the terminal."""
        lookahead = self._typing.lookahead()
        line = document.text
        if not line or is_command(line) or not document.is_cursor_at_the_end or lookahead is None:
            return None
        with contextlib.suppress(TokenizerError):
            return Suggestion(lookahead.ghost(unslashed(line), self._typing.columns(), GHOST))
        return None


class Alternatives(Completer):
    """Completion of commands and their arguments, and alternatives to the ghost text on request."""

    def __init__(self, typing: Typing) -> None:
        self._typing = typing
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Yield the completions at the cursor."""
        line = document.text_before_cursor
        if not is_command(line):
            return self._words(line) if event.completion_requested else ()
        if " " not in line:
            return self._commands(line)
        return self._arguments(line, event)

    def _words(self, line: str) -> Iterator[Completion]:
        lookahead = self._typing.lookahead()
        if lookahead is None:
            return
        with contextlib.suppress(TokenizerError):
            for words, prob in lookahead.alternatives(unslashed(line)):
                shown = visible(words).replace("\n", "\u23ce").replace(" ", "\u00b7")
                yield Completion(words, display=shown, display_meta=f"{100 * prob:.2g} %")

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
    """Tell whether a line is a command, not text."""
    return line.startswith("/") and not line.startswith("//")


def remaining(line: str, ghost: str, text: str) -> str:
    """Return the rest of a line's ghost text after text is typed; empty if they differ."""
    matches = text.startswith(line) and (line + ghost).startswith(text)
    return (line + ghost)[len(text) :] if matches else ""


def unslashed(line: str) -> str:
    """Return the text of a line: two slashes at its beginning are one."""
    return line.removeprefix("/")

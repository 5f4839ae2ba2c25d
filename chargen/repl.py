"""The interactive session: you write a line, the model goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from chargen.config import SampleConfig
from chargen.errors import ChargenError, ConfigError
from chargen.sampler import Place, Sampler, unseen_words

HELP = """\
Write the beginning of a line and press Enter: the model goes on from there, and remembers
the text so far. An empty line goes on from where the text stands.
/temp 0.7     set the temperature
/length 200   set the number of characters it writes
/reset        forget the text so far
/help         show this
/bye          leave (Ctrl-D does too; Ctrl-C stops the text)"""


class Session:
    """A text that a person and a model write together.

    Args:
        sampler: the model.
        config: how it draws.
    """

    def __init__(self, sampler: Sampler, config: SampleConfig) -> None:
        self.sampler, self.config = sampler, config
        self._place: Place | None = None
        self._turn = 0

    def go_on(self, line: str) -> Iterator[str]:
        """Yield what the model writes after a line; stopped early, it keeps what came."""
        place = self.sampler.read(line, self._place)
        self._turn += 1
        seed = None if self.config.seed is None else self.config.seed + self._turn - 1
        written = []
        try:
            for piece in self.sampler.stream(place, replace(self.config, seed=seed)):
                written.append(piece)
                yield piece
        finally:
            self._place = self.sampler.read("".join(written) + "\n", place)

    def command(self, line: str) -> str:
        """Obey a slash command and return what to tell the user.

        Raises:
            ConfigError: the command or its value is not allowed.
        """
        name, _, value = line.partition(" ")
        if name == "/help":
            return HELP
        if name == "/reset":
            self._place = None
            return "the text is forgotten"
        try:
            if name == "/temp":
                self.config = replace(self.config, temperature=float(value))
            elif name == "/length":
                self.config = replace(self.config, length=int(value))
            else:
                raise ConfigError(f"{name!r} is no command; /help lists them")
        except ValueError:
            raise ConfigError(f"{name} wants a number, not {value!r}") from None
        return f"{name.removeprefix('/')} is {value}"


def converse(
    session: Session,
    ask: Callable[[], str],
    write: Callable[[str], None],
    tell: Callable[[str], None],
) -> None:
    """Take lines until the end of input or ``/bye``.

    Args:
        session: the text and the model.
        ask: returns the next line; raises EOFError at the end, KeyboardInterrupt at Ctrl-C.
        write: takes generated text.
        tell: takes a message to the user.
    """
    while True:
        try:
            line = ask()
        except EOFError:
            return
        except KeyboardInterrupt:
            continue
        if line.strip() == "/bye":
            return
        try:
            _answer(session, line, write, tell)
        except ChargenError as error:
            tell(str(error))


def _answer(
    session: Session, line: str, write: Callable[[str], None], tell: Callable[[str], None]
) -> None:
    if line.startswith("/"):
        tell(session.command(line.strip()))
        return
    if unseen := unseen_words(session.sampler.tokenizer, line):
        tell(unseen)
    write(line)
    pieces = session.go_on(line)
    try:
        for piece in pieces:
            write(piece)
    except KeyboardInterrupt:
        pass
    finally:
        pieces.close()  # type: ignore[attr-defined]
    write("\n")

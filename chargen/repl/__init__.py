"""The interactive session: a text that a person and a model write together.

The text is a list of turns, and all that was done to it is a list of such lists: going back is
taking an older one, a branch is one with a name. Nothing here knows of a terminal; ``commands``
says what can be asked of a session, ``conversation`` shows it on a terminal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chargen.config import SampleConfig
from chargen.errors import ConfigError
from chargen.evaluation.surprisal import ScoredToken, score_tokens
from chargen.sampling.sampler import DecodeState, Sampler

DEFAULTS = SampleConfig(length=200)
FOLLOW = 256  # pieces that the model writes between two places: 20 ms of reading
READ = 20_000  # characters at the end of a given text that the model reads: a second or two
HEATED = 2000  # pieces at the end of a turn whose surprise is shown


@dataclass(frozen=True)
class Turn:
    """What a person wrote and what the model wrote after it.

    Attributes:
        asked: the person's part, with the newline that begins its line.
        written: the model's part.
        before: the place before both; None is the beginning of a text.
        between: the place after the person's part.
        after: the place after both.
    """

    asked: str
    written: str
    before: DecodeState | None
    between: DecodeState
    after: DecodeState

    @property
    def text(self) -> str:
        """Both parts."""
        return self.asked + self.written


Turns = tuple[Turn, ...]


class _Trace:
    """Follows what the model writes, so that the place after it is known soon whenever it stops."""

    def __init__(self, sampler: Sampler, place: DecodeState) -> None:
        self._sampler, self._place = sampler, place
        self._read, self._unread, self.count = list[str](), list[str](), 0

    def add(self, piece: str) -> None:
        self._unread.append(piece)
        self.count += len(piece)
        if len(self._unread) >= FOLLOW:
            self.place()

    def place(self) -> DecodeState:
        """Return the place after the text."""
        unread, self._unread = "".join(self._unread), []
        self._read.append(unread)
        self._place = self._sampler.read(unread, self._place)
        return self._place

    def text(self) -> str:
        """Return all that was written."""
        return "".join([*self._read, *self._unread])


class Session:
    """A text, the model that goes on with it, and how it draws.

    Args:
        sampler: the model.
        config: how it draws; may be replaced at any time, also while text is being written.

    Attributes:
        turns: the text.
        branches: texts that were given a name.
    """

    def __init__(self, sampler: Sampler, config: SampleConfig = DEFAULTS) -> None:
        self.sampler = sampler
        self._config, self._draws = config, 0
        self.turns: Turns = ()
        self.branches: dict[str, Turns] = {}
        self._past: list[Turns] = []

    @property
    def config(self) -> SampleConfig:
        """How the model draws. A new seed counts from the next draw on."""
        return self._config

    @config.setter
    def config(self, config: SampleConfig) -> None:
        if config.seed != self._config.seed:
            self._draws = 0
        self._config = config

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(turn.text for turn in self.turns)

    @property
    def place(self) -> DecodeState | None:
        """Where the text ends; None if there is none."""
        return self.turns[-1].after if self.turns else None

    def continued(self, line: str) -> str:
        """Return what a line adds to the text: it begins a line of its own, an empty one nothing.

        What stands on the screen is so what the model has read.
        """
        last = next((turn.text for turn in reversed(self.turns) if turn.text), "\n")
        return line if last.endswith("\n") or not line else "\n" + line

    def go_on(self, line: str = "") -> Iterator[str]:
        """Read a line and yield what the model writes after it.

        The turn is kept when the iterator ends or is closed, with what came until then.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        asked = self.continued(line)
        # Read at once, not key by key as the ghost text does: a text then depends on its lines
        # and its seed to the last bit, however they were typed.
        between = self.sampler.read(asked, self.place)
        return self._write(self.turns, asked, self.place, between)

    def retry(self) -> Iterator[str]:
        """Yield another draw from where the model last began to write; it takes that one's place.

        Raises:
            ConfigError: nothing was written yet.
        """
        last = self._last()
        return self._write(self.turns[:-1], last.asked, last.before, last.between)

    def _write(
        self, turns: Turns, asked: str, before: DecodeState | None, between: DecodeState
    ) -> Iterator[str]:
        """Yield a turn's text; when the settings change it goes on from there with the new ones."""
        trace, drawn = _Trace(self.sampler, between), self._draws
        self._draws += 1
        try:
            while trace.count < (config := self.config).length:
                rest = _rest(config, trace.count, drawn)
                for piece in self.sampler.stream(trace.place(), rest):
                    trace.add(piece)
                    yield piece
                    if self.config is not config:
                        break
                else:
                    break
        finally:
            self._become((*turns, Turn(asked, trace.text(), before, between, trace.place())))

    def undo(self) -> None:
        """Take back the last thing that changed the text.

        Raises:
            ConfigError: nothing is left to take back.
        """
        if not self._past:
            raise ConfigError("there is nothing to undo")
        self.turns = self._past.pop()

    def reset(self) -> None:
        """Begin a new text; ``undo`` brings the old one back."""
        self._become(())

    def rewrite(self, text: str) -> None:
        """Take another text in place of this one; the model reads its last ``READ`` characters.

        Raises:
            TokenizerError: the text holds a lone surrogate.
        """
        if not text:
            self.reset()
            return
        place = self.sampler.read(text[-READ:])
        self._become((Turn(text, "", None, place, place),))

    def branch(self, name: str) -> None:
        """Give the text as it stands a name."""
        self.branches[name] = self.turns

    def go(self, name: str) -> None:
        """Go on with a text that was given a name.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.branches:
            names = ", ".join(self.branches) or "none"
            raise ConfigError(f"there is no branch {name!r}; there are: {names}")
        self._become(self.branches[name])

    def heat(self) -> list[ScoredToken]:
        """Return the last ``HEATED`` pieces of the last turn, each with its surprise in bits.

        Raises:
            ConfigError: there is no text.
        """
        last = self._last()
        before = last.before if last.asked else last.between
        return list(deque(score_tokens(self.sampler, last.text[-READ:], before), HEATED))

    def _last(self) -> Turn:
        if not self.turns:
            raise ConfigError("there is no text yet; write the beginning of a line")
        return self.turns[-1]

    def _become(self, turns: Turns) -> None:
        self._past.append(self.turns)
        self.turns = turns


def _rest(config: SampleConfig, count: int, drawn: int) -> SampleConfig:
    """Return how the rest of a turn is drawn: so many characters are there, so many turns were."""
    seed = None if config.seed is None else config.seed + drawn
    return replace(config, length=config.length - count, seed=seed)

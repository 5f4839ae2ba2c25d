"""Interactive session: a text that a person and a model write in turns.

The text is a tuple of turns. Undo restores an earlier tuple, and a branch is a tuple with a name.
Nothing here knows of a terminal: ``commands`` has the commands of a session, ``conversation``
shows it on a terminal.
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
CHUNK = 256  # generated pieces that are read at once: 20 ms
MAX_READ = 20_000  # last characters of a given text that the model reads: a second or two
MAX_HEAT = 2000  # last tokens of a turn that ``heat`` returns


@dataclass(frozen=True)
class Turn:
    """A line of a person and what the model generated after it.

    Attributes:
        line: the person's part, with the newline before it.
        generated: the model's part.
        before: state before both; None is the beginning of a text.
        between: state after the person's part.
        after: state after both.
    """

    line: str
    generated: str
    before: DecodeState | None
    between: DecodeState
    after: DecodeState

    @property
    def text(self) -> str:
        """Both parts."""
        return self.line + self.generated


Turns = tuple[Turn, ...]


class _Trace:
    """Reads text while it is generated, so that the state after it is soon known at any time."""

    def __init__(self, sampler: Sampler, state: DecodeState) -> None:
        self._sampler, self._state = sampler, state
        self._read, self._unread, self.count = list[str](), list[str](), 0

    def append(self, piece: str) -> None:
        self._unread.append(piece)
        self.count += len(piece)
        if len(self._unread) >= CHUNK:
            self.state()

    def state(self) -> DecodeState:
        """Return the state after the text."""
        unread, self._unread = "".join(self._unread), []
        self._read.append(unread)
        self._state = self._sampler.read(unread, self._state)
        return self._state

    def text(self) -> str:
        """Return the text so far."""
        return "".join([*self._read, *self._unread])


class Session:
    """A text, the model that continues it, and the sampling parameters.

    Args:
        sampler: the model.
        config: sampling parameters; may be replaced at any time, also during generation.

    Attributes:
        turns: the text.
        branches: texts by name.
    """

    def __init__(self, sampler: Sampler, config: SampleConfig = DEFAULTS) -> None:
        self.sampler = sampler
        self._config, self._generations = config, 0
        self.turns: Turns = ()
        self.branches: dict[str, Turns] = {}
        self._past: list[Turns] = []

    @property
    def config(self) -> SampleConfig:
        """Sampling parameters. A new seed takes effect with the next turn."""
        return self._config

    @config.setter
    def config(self, config: SampleConfig) -> None:
        if config.seed != self._config.seed:
            self._generations = 0
        self._config = config

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(turn.text for turn in self.turns)

    @property
    def state(self) -> DecodeState | None:
        """State after the text; None if there is no text."""
        return self.turns[-1].after if self.turns else None

    def as_added(self, line: str) -> str:
        """Return what a line adds to the text: after a newline, unless it is empty.

        So the screen shows exactly what the model reads.
        """
        last = next((turn.text for turn in reversed(self.turns) if turn.text), "\n")
        return line if last.endswith("\n") or not line else "\n" + line

    def generate(self, line: str = "") -> Iterator[str]:
        """Read a line and yield the pieces that the model generates after it.

        The turn is added when the iterator ends or is closed, with the pieces so far.

        Raises:
            TokenizerError: the line holds a lone surrogate.
        """
        added = self.as_added(line)
        # Read in one call, not key by key as for ghost text: a text then depends on its lines
        # and its seed to the last bit, however they are typed.
        between = self.sampler.read(added, self.state)
        return self._generate(self.turns, added, self.state, between)

    def retry(self) -> Iterator[str]:
        """Generate the last turn again with other random numbers; it replaces the old one.

        Raises:
            ConfigError: there is no turn yet.
        """
        last = self._last()
        return self._generate(self.turns[:-1], last.line, last.before, last.between)

    def _generate(
        self, turns: Turns, line: str, before: DecodeState | None, between: DecodeState
    ) -> Iterator[str]:
        """Yield the text of a turn; changed parameters take effect from the next piece on."""
        trace, number = _Trace(self.sampler, between), self._generations
        self._generations += 1
        try:
            while trace.count < (config := self.config).length:
                rest = _rest(config, trace.count, number)
                for piece in self.sampler.stream(trace.state(), rest):
                    trace.append(piece)
                    yield piece
                    if self.config is not config:
                        break
                else:
                    break
        finally:
            self._replace((*turns, Turn(line, trace.text(), before, between, trace.state())))

    def undo(self) -> None:
        """Undo the last change of the text.

        Raises:
            ConfigError: there is nothing to undo.
        """
        if not self._past:
            raise ConfigError("there is nothing to undo")
        self.turns = self._past.pop()

    def reset(self) -> None:
        """Begin a new text; ``undo`` restores the old one."""
        self._replace(())

    def load(self, text: str) -> None:
        """Replace the text by another one; the model reads its last ``MAX_READ`` characters.

        Raises:
            TokenizerError: the text holds a lone surrogate.
        """
        if not text:
            self.reset()
            return
        state = self.sampler.read(text[-MAX_READ:])
        self._replace((Turn(text, "", None, state, state),))

    def branch(self, name: str) -> None:
        """Give the text a name."""
        self.branches[name] = self.turns

    def switch(self, name: str) -> None:
        """Continue with the text of a name.

        Raises:
            ConfigError: there is no text of that name.
        """
        if name not in self.branches:
            names = ", ".join(self.branches) or "none"
            raise ConfigError(f"branch is {name!r}; allowed: {names}")
        self._replace(self.branches[name])

    def heat(self) -> list[ScoredToken]:
        """Return the last ``MAX_HEAT`` tokens of the last turn with their surprisal.

        Raises:
            ConfigError: there is no text.
        """
        last = self._last()
        before = last.before if last.line else last.between
        return list(deque(score_tokens(self.sampler, last.text[-MAX_READ:], before), MAX_HEAT))

    def _last(self) -> Turn:
        if not self.turns:
            raise ConfigError("there is no text yet; type the beginning of a line")
        return self.turns[-1]

    def _replace(self, turns: Turns) -> None:
        self._past.append(self.turns)
        self.turns = turns


def _rest(config: SampleConfig, count: int, number: int) -> SampleConfig:
    """Return the parameters for the rest of a turn, after some characters and earlier turns."""
    seed = None if config.seed is None else config.seed + number
    return replace(config, length=config.length - count, seed=seed)

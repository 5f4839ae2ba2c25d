"""Interactive session: a text that a person and a model write in turns.

The text is a draft: the turns before the cursor and the text behind it. Undo restores an earlier
draft, and a branch is a draft with a name. Nothing here knows of a terminal: ``commands`` has
the commands of a session, ``conversation`` shows it on a terminal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from chargen.config import SampleConfig, documented
from chargen.errors import ConfigError
from chargen.evaluation.surprisal import ScoredToken, score_tokens
from chargen.sampling.decoding import DEAD_END, ENDS, Sample, logit_bias
from chargen.sampling.records import is_over
from chargen.sampling.sampler import DecodeState, Sampler

if TYPE_CHECKING:
    from chargen.sampling.constraints import Constraint

DEFAULTS = SampleConfig(length=200)
CHUNK = 256  # generated pieces that are read at once: 20 ms
MAX_READ = 20_000  # last characters of a given text that the model reads: a second or two
MAX_HEAT = 2000  # last tokens of a turn that ``heat`` returns
VARIANTS, MAX_VARIANT = 3, 400  # how many are offered, and their characters


@dataclass(frozen=True)
class Turn:
    """A line of a person and what the model generated after it.

    Attributes:
        line: the person's part.
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


@dataclass(frozen=True)
class Draft:
    """A text at some time.

    Attributes:
        turns: the text before the cursor.
        rest: the text behind it, which the model does not read.
        label: of the text, as typed; None for no label.
    """

    turns: Turns = ()
    rest: str = ""
    label: str | None = None

    @property
    def before(self) -> str:
        """The text before the cursor."""
        return "".join(turn.text for turn in self.turns)

    @property
    def text(self) -> str:
        """The whole text."""
        return self.before + self.rest

    @property
    def line(self) -> str:
        """The line with the cursor, up to there."""
        parts = deque[str]()
        for turn in reversed(self.turns):
            parts.appendleft(turn.text.rpartition("\n")[2])
            if "\n" in turn.text:
                break
        return "".join(parts)


@dataclass(frozen=True)
class Rules:
    """Constraints on the generated text of each turn."""

    regex: str | None = documented(None, "Generated text matches this regular expression.")
    words: str | None = documented(None, "Generated text has only words of this file.")
    no_copy: int | None = documented(None, "Never copy N characters of the training text.")


@dataclass(frozen=True)
class Variants:
    """Alternatives for a sentence, of which one may be picked.

    Attributes:
        line: the person's part before them.
        texts: what the model generated.
        draft: the text so far.
        between: the state after the line.
    """

    line: str
    texts: tuple[str, ...]
    draft: Draft
    between: DecodeState


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
        draft: the text.
        rules: constraints on what is generated.
        branches: texts by name.
    """

    def __init__(self, sampler: Sampler, config: SampleConfig = DEFAULTS) -> None:
        self._samplers: dict[str | None, Sampler] = {None: sampler}
        self._config, self._generations = config, 0
        self.rules = Rules()
        self._constraint: Constraint | None = None
        self.draft = Draft()
        self.branches: dict[str, Draft] = {}
        self._past: list[Draft] = []
        self._variants: Variants | None = None

    @property
    def sampler(self) -> Sampler:
        """The model, for texts with the label of this one."""
        return self._samplers[self.draft.label]

    @property
    def config(self) -> SampleConfig:
        """Sampling parameters. A new seed takes effect with the next turn."""
        return self._config

    @config.setter
    def config(self, config: SampleConfig) -> None:
        if config.seed != self._config.seed:
            self._generations = 0
        self._config = config

    def change(self, config: SampleConfig, rules: Rules) -> None:
        """Change sampling parameters and constraints; constraints take effect with the next turn.

        Raises:
            ConfigError: the model cannot follow them; nothing is changed.
        """
        logit_bias(self.sampler.tokenizer, config)  # raises for what the model cannot be told
        words = None if rules.words is None else path_of(rules.words)
        self._constraint = self.sampler.constraint(config, rules.regex, words, rules.no_copy)
        self.config, self.rules = config, rules

    def relabel(self, label: str | None) -> None:
        """Give the text a label, or none; the model reads the text anew.

        Raises:
            ConfigError: the model has no such label; nothing is changed.
        """
        if label not in self._samplers:
            assert label is not None
            self._samplers[label] = self._samplers[None].labelled(label)
        turns = list[Turn]()
        for turn in self.turns:
            before = turns[-1].after if turns else None
            turns.append(_reread(self._samplers[label], turn, before))
        self._replace(replace(self.draft, turns=tuple(turns), label=label))

    @property
    def turns(self) -> Turns:
        """The turns before the cursor."""
        return self.draft.turns

    @property
    def text(self) -> str:
        """The whole text."""
        return self.draft.text

    @property
    def state(self) -> DecodeState | None:
        """State after the text; None if there is no text."""
        return self.turns[-1].after if self.turns else None

    def on_own_line(self, line: str) -> str:
        """Return a line as it is added on a line of its own: after a newline, unless empty."""
        ended = self.text.endswith(self.sampler.reading.end or "\n")
        return "\n" + line if line and self.draft.line and not ended else line

    def generate(self, line: str = "") -> Iterator[str]:
        """Add what a person wrote, and yield the pieces that the model generates after it.

        The turn is added when the iterator ends or is closed, with the pieces so far.

        Raises:
            ConfigError: the length is too short for the constraints.
            TokenizerError: the line holds a lone surrogate.
        """
        # Read in one call, not key by key as for ghost text: a text then depends on its lines
        # and its seed to the last bit, however they are typed.
        between = self.sampler.read(line, self.state)
        return self._generate(self.turns, line, self.state, between, self._required())

    def retry(self) -> Iterator[str]:
        """Generate the last turn again with other random numbers; it replaces the old one.

        Raises:
            ConfigError: there is no turn yet, or the length is too short for the constraints.
        """
        last = self._last()
        return self._generate(
            self.turns[:-1], last.line, last.before, last.between, self._required()
        )

    def _required(self) -> Constraint | None:
        """Return the constraint of a turn, which a text of the length can meet."""
        if self._constraint:
            self._constraint.require(self.config.length)
        return self._constraint

    def _generate(
        self,
        turns: Turns,
        line: str,
        before: DecodeState | None,
        between: DecodeState,
        constraint: Constraint | None,
    ) -> Iterator[str]:
        """Yield the text of a turn; changed parameters take effect from the next piece on.

        With a constraint, which is on the whole text of a turn, from the next turn on.
        """
        trace, number = _Trace(self.sampler, between), self._generations
        self._generations += 1
        try:
            while trace.count < (config := self.config).length:
                rest = _rest(config, trace.count, number)
                for piece in self._to_end(self.sampler.stream(trace.state(), rest, constraint)):
                    trace.append(piece)
                    yield piece
                    if self.config is not config and constraint is None:
                        break
                else:
                    break
        finally:
            turn = Turn(line, trace.text(), before, between, trace.state())
            self._replace(replace(self.draft, turns=(*turns, turn)))

    def _to_end(self, pieces: Generator[str, None, Sample]) -> Iterator[str]:
        """Yield the pieces of a text, and the character that ends its record."""
        sample, end = (yield from pieces), self.sampler.reading.end
        if end and is_over(sample, self.sampler.tokenizer, end):
            yield end

    def vary(self, line: str = "") -> Variants:
        """Return different sentences that may follow a line; the text is unchanged.

        They are lines or paragraphs if the texts of the session end so.

        Raises:
            ConfigError: the length is too short for the constraints.
            TokenizerError: the line holds a lone surrogate.
        """
        constraint, between = self._required(), self.sampler.read(line, self.state)
        config = _rest(self.config, 0, self._generations)
        if not self.rules.regex:  # which says itself where a text ends
            length = min(config.length, MAX_VARIANT)
            config = replace(config, until=config.until or "sentence", length=length)
        self._generations += 1
        # Some of them may be equal.
        samples, *_ = self.sampler.decode(between, config, 2 * VARIANTS, constraint)
        whole = [sample.text for sample, _ in samples if sample.finish_reason != ENDS[DEAD_END]]
        found = dict.fromkeys(text for text in whole if text.strip())
        self._variants = Variants(line, tuple(found)[:VARIANTS], self.draft, between)
        return self._variants

    @property
    def variants(self) -> Variants | None:
        """The variants that may be picked: the text is still the one before them."""
        offered = self._variants
        return offered if offered and offered.draft is self.draft else None

    def pick(self, number: int) -> Turn:
        """Add one of the variants to the text, and return it with its line; 0 is the first."""
        offered = self.variants
        assert offered
        line, between, text = offered.line, offered.between, offered.texts[number]
        turn = Turn(line, text, self.state, between, self.sampler.read(text, between))
        self._replace(replace(self.draft, turns=(*self.turns, turn)))
        return turn

    def move(self, place: int) -> None:
        """Move the cursor to a place in the text; the model reads the text before it.

        Args:
            place: number of characters before it.
        """
        text, turns = self.text, self.turns
        ends = list(accumulate(len(turn.text) for turn in turns))
        kept = turns[: sum(end <= place for end in ends)]
        begin = ends[len(kept) - 1] if kept else 0
        if begin < place:
            kept = (*kept, self._read_turn(text[begin:place], kept[-1].after if kept else None))
        self._replace(replace(self.draft, turns=kept, rest=text[place:]))

    def _read_turn(self, text: str, before: DecodeState | None) -> Turn:
        """Return a turn of a text that is not generated; of a long one the model reads the end."""
        state = self.sampler.read(text[-MAX_READ:], before)
        return Turn(text, "", before, state, state)

    def undo(self) -> None:
        """Undo the last change of the text.

        Raises:
            ConfigError: there is nothing to undo.
        """
        if not self._past:
            raise ConfigError("there is nothing to undo")
        self.draft = self._past.pop()

    def reset(self) -> None:
        """Begin a new text; ``undo`` restores the old one."""
        self._replace(Draft(label=self.draft.label))

    def load(self, text: str) -> None:
        """Replace the text by another one; the model reads its last ``MAX_READ`` characters.

        Raises:
            TokenizerError: the text holds a lone surrogate.
        """
        if not text:
            self.reset()
            return
        self._replace(Draft((self._read_turn(text, None),), label=self.draft.label))

    def branch(self, name: str) -> None:
        """Give the text a name."""
        self.branches[name] = self.draft

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
        before, text = last.before if last.line else last.between, last.text[-MAX_READ:]
        end = self.sampler.reading.end
        if end and end in text[:-1]:  # of several records the last one
            before, text = None, text[text.rindex(end, 0, -1) + 1 :]
        return list(deque(score_tokens(self.sampler, text, before), MAX_HEAT))

    def _last(self) -> Turn:
        if not self.turns:
            raise ConfigError("there is no text yet; type the beginning of a line")
        return self.turns[-1]

    def _replace(self, draft: Draft) -> None:
        self._past.append(self.draft)
        self.draft = draft


def _reread(sampler: Sampler, turn: Turn, before: DecodeState | None) -> Turn:
    """Return a turn after another state; of each long part the model reads the end."""
    between = sampler.read(turn.line[-MAX_READ:], before)
    after = sampler.read(turn.generated[-MAX_READ:], between)
    return replace(turn, before=before, between=between, after=after)


def path_of(name: str) -> Path:
    """Return the path of a name as typed, which may begin with ``~``."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        return Path(name)


def _rest(config: SampleConfig, count: int, number: int) -> SampleConfig:
    """Return the parameters for the rest of a turn, after some characters and earlier turns."""
    seed = None if config.seed is None else config.seed + number
    return replace(config, length=config.length - count, seed=seed)

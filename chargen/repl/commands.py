"""Commands of a session, as a table: help, completion and execution follow from ``COMMANDS``.

Nothing here shows anything: a line leads to an answer, which the caller displays.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from chargen.config import SampleConfig, read_bias, unescape
from chargen.data.dataset import read_like
from chargen.display.output import quoted, unknown_note
from chargen.errors import ConfigError, CorpusError, StorageError
from chargen.evaluation.surprisal import ScoredToken
from chargen.repl import DEFAULTS, Session
from chargen.sampling.decoding import logit_bias
from chargen.storage.files import write_whole
from chargen.tokenizers.byte import bytes_of

FILE = "FILE"  # an argument that completes to the names of files
TYPES = get_type_hints(SampleConfig)
HELP = {field.name: str(field.metadata["help"]) for field in fields(SampleConfig)}


def typed_names(config: type) -> dict[str, str]:
    """Return the names that people type for the fields of a config class, and those fields.

    They are the options of the command line without their dashes, and the fields' own names.
    """
    names: dict[str, str] = {}
    for known in fields(config):
        for name in (known.name, *known.metadata.get("flags", ())):
            names[name.lstrip("-").replace("_", "-")] = known.name
    return names


NAMES = typed_names(SampleConfig)  # and the field of each


@dataclass(frozen=True)
class Message:
    """A message to the user."""

    text: str


@dataclass(frozen=True)
class Generation:
    """Text that is about to be generated.

    Attributes:
        line: the person's part of the turn, to be shown first.
        pieces: what the model generates; to be closed if it is not read to its end.
        warning: about the line, if there is one.
        again: it replaces the last turn.
    """

    line: str
    pieces: Iterator[str]
    warning: str | None = None
    again: bool = False


@dataclass(frozen=True)
class Heat:
    """A text with the surprisal of its tokens."""

    tokens: list[ScoredToken]


@dataclass(frozen=True)
class Edit:
    """A text to be opened in an editor; the result goes to ``load``."""

    text: str


@dataclass(frozen=True)
class Quit:
    """The end of the session."""


Answer = Message | Generation | Heat | Edit | Quit


@dataclass(frozen=True)
class Command:
    """A slash command.

    Attributes:
        name: without the slash.
        argument: name of its argument; empty if there is none.
        help: what it does.
        run: does it, given the argument.
        live: it may be given during generation, and takes effect at once.
        values: possible arguments with their help, for completion.
    """

    name: str
    argument: str
    help: str
    run: Callable[[Session, str], Answer]
    live: bool = False
    values: Callable[[Session], dict[str, str]] = lambda _: {}


def answer(session: Session, line: str) -> Answer:
    """Run a slash command, or let the model continue after a line.

    Two slashes begin a line of text with one.

    Raises:
        ChargenError: a message for the user; the session is unchanged.
    """
    if not line.startswith("/") or line.startswith("//"):
        line = line.removeprefix("/")
        warning = unknown_note(session.sampler.tokenizer, line)
        return Generation(session.as_added(line), session.generate(line), warning)
    name, _, value = line.partition(" ")
    command = find(name)
    if not command.argument and value.strip():
        raise ConfigError(f"{name} takes no argument; leave {value.strip()!r} out")
    return command.run(session, value.strip())


def find(name: str) -> Command:
    """Return the command of a name with its slash.

    Raises:
        ConfigError: there is none.
    """
    command = next((c for c in COMMANDS if f"/{c.name}" == name.strip()), None)
    if command is None:
        near = difflib.get_close_matches(name, [f"/{c.name}" for c in COMMANDS], 1)
        meant = f"did you mean {near[0]}?" if near else "/help lists them"
        raise ConfigError(f"{name!r} is not a command; {meant}")
    return command


def is_live(line: str) -> bool:
    """Tell whether a line takes effect at once, also during generation."""
    return any(line.partition(" ")[0].strip() == f"/{c.name}" for c in COMMANDS if c.live)


# -- sampling parameters ------------------------------------------------------------------


def shown(value: object) -> str:
    """Return the value of a parameter as it is typed."""
    if isinstance(value, tuple):
        parts = [part if isinstance(part, str) else f"{part[0]}{part[1]:+g}" for part in value]
        return " ".join(repr(part) for part in parts) or "none"
    if value is None or value == "":
        return "none"
    return repr(value) if isinstance(value, str) else f"{value:.12g}"


def parse(name: str, label: str, value: str) -> Any:
    """Return the value of a parameter, by the type of its field.

    Args:
        name: the field.
        label: its name in an error.
        value: as typed; texts in quotes may hold spaces, a newline is ``\\n``.

    Raises:
        ConfigError: the value is not of that type.
    """
    kind = TYPES[name]
    try:
        if kind == int | None:
            return None if value in ("", "none") else int(value)
        if kind in (int, float):
            return kind(value)
    except ValueError:
        number = "a number" if kind is float else "a whole number"
        raise ConfigError(f"{label} is {value!r}; allowed: {number}") from None
    if kind is str:
        return "".join(_texts(label, value))
    texts = tuple(_texts(label, value))
    return texts if kind == tuple[str, ...] else tuple(read_bias(label, text) for text in texts)


def _texts(label: str, value: str) -> list[str]:
    """Return texts separated by spaces; some of them may be in quotes."""
    lexer = shlex.shlex(value, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        texts = [] if value == "none" else list(lexer)
    except ValueError:
        raise ConfigError(f"{label} is {value!r}; allowed: texts with closed quotes") from None
    return [unescape(label, text) for text in texts]


def _change(session: Session, label: str, value: str) -> Message:
    """Change the parameter of a name, as typed."""
    name = label.replace("_", "-")
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        meant = f"did you mean {near[0]}?" if near else "/show lists them"
        raise ConfigError(f"{label} is not a setting; {meant}")
    field = NAMES[name]
    config = replace(session.config, **{field: parse(field, name, value)})
    logit_bias(session.sampler.tokenizer, config)  # raises for what the model cannot be told
    session.config = config
    return Message(f"{name} is {shown(getattr(session.config, field))}")


def _parameter(name: str) -> Callable[[Session, str], Answer]:
    """Return a command that changes a parameter; without a value it shows it."""

    def run(session: Session, value: str) -> Answer:
        if not value:
            return Message(f"{name} is {shown(getattr(session.config, NAMES[name]))}")
        return _change(session, name, value)

    return run


def _set(session: Session, value: str) -> Answer:
    name, _, rest = value.partition(" ")
    return _change(session, name, rest.strip()) if name else _show(session, "")


def _stop(session: Session, value: str) -> Answer:
    session.config = replace(session.config, stop=(unescape("stop", value),) if value else ())
    return Message(f"stop is {shown(session.config.stop)}")


def _show(session: Session, _: str) -> Answer:
    lines = []
    for name, default in vars(DEFAULTS).items():
        value = getattr(session.config, name)
        mark = "*" if value != default else " "
        lines.append(f"{mark} {name.replace('_', '-'):<22} {shown(value)}")
    return Message("\n".join([*lines, "* differs from the default; /set NAME VALUE changes it"]))


# -- the text -----------------------------------------------------------------------------


def _retry(session: Session, _: str) -> Answer:
    pieces = session.retry()
    return Generation(session.turns[-1].line, pieces, again=True)


def _undo(session: Session, _: str) -> Answer:
    session.undo()
    return _size(session, "undone")


def _reset(session: Session, _: str) -> Answer:
    session.reset()
    return Message("the text is empty; /undo restores the old one")


def _branch(session: Session, value: str) -> Answer:
    if not value:
        raise ConfigError("/branch needs a name")
    session.branch(value)
    return Message(f"the text is branch {value!r}; /go {value} returns to it")


def _go(session: Session, value: str) -> Answer:
    if value:
        session.switch(value)
        return _size(session, f"branch {value!r}")
    lines = [f"{name!r}: {help}" for name, help in _branches(session).items()]
    return Message("\n".join(lines) or "there are no branches; /branch NAME makes one")


def _branches(session: Session) -> dict[str, str]:
    texts = {name: "".join(t.text for t in turns) for name, turns in session.branches.items()}
    return {
        name: f"{len(text):,} characters, the last are {text[-30:]!r}"
        for name, text in texts.items()
    }


def _size(session: Session, action: str) -> Message:
    return Message(f"{action}: the text has {len(session.text):,} characters")


def _heat(session: Session, _: str) -> Answer:
    return Heat(session.heat())


def _edit(session: Session, _: str) -> Answer:
    return Edit(session.text)


# -- files --------------------------------------------------------------------------------


def _path(command: str, value: str) -> Path:
    if not value or "\0" in value:
        raise ConfigError(f"{command} needs the name of a file")
    try:
        return Path(value).expanduser()
    except RuntimeError:  # ~nobody
        return Path(value)


def _save(session: Session, value: str) -> Answer:
    if _exists(_path("/save", value)):
        raise StorageError(f"{value!r} exists; /save! {value} overwrites it")
    return _overwrite(session, value)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long; saving reports it
        return False


def _overwrite(session: Session, value: str) -> Answer:
    text = session.text
    write_whole(_path("/save!", value), bytes_of(text))
    return Message(f"{len(text):,} characters saved in {value!r}")


def _load(session: Session, value: str) -> Answer:
    path = _path("/load", value)
    try:
        name = "./-" if str(path) == "-" else str(path)  # never standard input
        read = read_like(session.sampler.reading, name, least=0)
    except CorpusError as error:
        what = str(error).partition("; ")[0]
        raise CorpusError(f"{what}; give another file") from None
    text = read.whole()
    session.load(text)
    return loaded(session, text, read.notes)


def loaded(session: Session, text: str, notes: tuple[str, ...] = ()) -> Message:
    """Return a message that a text is loaded, with notes, and which characters are unknown."""
    unknown = unknown_note(session.sampler.tokenizer, text)
    lines = _size(session, "loaded").text, *notes, *([unknown] if unknown else [])
    return Message("\n".join(lines))


# -- the table ----------------------------------------------------------------------------


def _help(_: Session, __: str) -> Answer:
    return Message(help_text())


def help_text() -> str:
    """Return the text of ``/help``."""
    usages = [(f"/{c.name} {c.argument}".strip(), c.help) for c in COMMANDS]
    return "\n".join([INTRODUCTION, *(f"{usage:<18} {help}" for usage, help in usages), KEYS])


INTRODUCTION = """\
Type a line and press Enter: the model continues it after the text so far.
An empty line continues the text; two slashes begin a line of text with one."""
KEYS = """\
In a terminal, the grey text is the most likely continuation: Tab or right
accepts it, Alt-right a word of it, Ctrl-Space lists others. Ctrl-C stops the
generation; twice on an empty line it quits, as Ctrl-D does."""


def _settings(_: Session) -> dict[str, str]:
    return {name.replace("_", "-"): help for name, help in HELP.items()}


COMMANDS = (
    Command("temp", "X", HELP["temperature"], _parameter("temp"), live=True),
    Command("length", "N", "Characters to generate per turn.", _parameter("length"), live=True),
    Command("seed", "N", "Random seed; none: random.", _parameter("seed"), live=True),
    Command("stop", "TEXT", "Stop at this text; without one, at the length.", _stop, live=True),
    Command(
        "set", "NAME VALUE", "Change any setting, as in /set top-p 0.9.", _set, True, _settings
    ),
    Command("show", "", "Show all settings.", _show, live=True),
    Command("retry", "", "Generate the last turn again, with other random numbers.", _retry),
    Command("undo", "", "Undo the last change of the text.", _undo),
    Command("branch", "NAME", "Give the text a name.", _branch, values=_branches),
    Command("go", "NAME", "Return to a branch; without a name, list them.", _go, values=_branches),
    Command("edit", "", "Open the text in $VISUAL or $EDITOR, then load it.", _edit),
    Command("save", FILE, "Save the text in a new file.", _save),
    Command("save!", FILE, "Save the text, overwriting a file.", _overwrite),
    Command("load", FILE, "Replace the text by that of a file.", _load),
    Command("heat", "", "Show the surprisal of the last turn.", _heat),
    Command("reset", "", "Begin a new text.", _reset),
    Command("help", "", "Show this help.", _help, live=True),
    Command("bye", "", "Quit.", lambda _, __: Quit()),
)


def heat_table(words: list[ScoredToken]) -> str:
    """Return a line per word with its surprisal in bits, and the mean of all."""
    lines = [f"{word.bits:6.1f}  {quoted(word.text)}" for word in words]
    bits = sum(word.bits for word in words) / max(1, sum(len(word.text) for word in words))
    return "\n".join(["  bits  word", *lines, f"{bits:.2f} bits per character"])

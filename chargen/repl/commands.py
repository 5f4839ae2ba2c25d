"""What can be said to a session: lines, and the slash commands as a table.

Help, completion and obedience all follow from ``COMMANDS``. Nothing here shows anything: what
a line leads to is an answer, and whoever asked displays it.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from chargen.config import SampleConfig, unescape
from chargen.errors import ConfigError, StorageError
from chargen.evaluation.surprisal import ScoredToken
from chargen.repl import DEFAULTS, Session
from chargen.sampling.sampler import unknown_note
from chargen.storage.files import read_small_text, write_whole

FILE = "FILE"  # an argument that completes to the names of files
TYPES = get_type_hints(SampleConfig)
HELP = {field.name: str(field.metadata["help"]) for field in fields(SampleConfig)}


@dataclass(frozen=True)
class Said:
    """Words for the user."""

    words: str


@dataclass(frozen=True)
class Writing:
    """The model is about to write.

    Attributes:
        line: the person's part of the turn, to be shown first.
        pieces: what the model writes; to be closed where it is not read to its end.
        warning: what the user should know, if anything.
        again: it takes the place of what was written last.
    """

    line: str
    pieces: Iterator[str]
    warning: str | None = None
    again: bool = False


@dataclass(frozen=True)
class Heat:
    """A text with the surprise of its pieces."""

    pieces: list[ScoredToken]


@dataclass(frozen=True)
class Edit:
    """The text is to be opened in an editor, and what comes back given to ``rewrite``."""

    text: str


@dataclass(frozen=True)
class Leave:
    """The session is over."""


Answer = Said | Writing | Heat | Edit | Leave


@dataclass(frozen=True)
class Command:
    """A slash command.

    Attributes:
        name: what follows the slash.
        argument: what it takes, in one word; empty if nothing.
        help: what it does.
        act: does it, given the argument.
        live: it may be given while text is being written, and acts at once.
        values: what the argument may be, each with its help; for completion.
    """

    name: str
    argument: str
    help: str
    act: Callable[[Session, str], Answer]
    live: bool = False
    values: Callable[[Session], dict[str, str]] = lambda _: {}


def answer(session: Session, line: str) -> Answer:
    """Obey a slash command, or let the model go on after a line.

    Two slashes begin a line with one.

    Raises:
        ChargenError: what the user should be told; the session is as it was.
    """
    if not line.startswith("/") or line.startswith("//"):
        line = line.removeprefix("/")
        shown = session.continued(line)
        return Writing(shown, session.go_on(line), unknown_note(session.sampler.tokenizer, line))
    name, _, value = line.partition(" ")
    command = find(name)
    if not command.argument and value.strip():
        raise ConfigError(f"{name} takes nothing after it, not {value.strip()!r}")
    return command.act(session, value.strip())


def find(name: str) -> Command:
    """Return the command that a word with its slash names.

    Raises:
        ConfigError: there is none.
    """
    command = next((c for c in COMMANDS if f"/{c.name}" == name.strip()), None)
    if command is None:
        near = difflib.get_close_matches(name, [f"/{c.name}" for c in COMMANDS], 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{name!r} is no command{meant or '; /help lists them'}")
    return command


def is_live(line: str) -> bool:
    """Tell whether a line acts at once, also while text is being written."""
    return any(line.partition(" ")[0].strip() == f"/{c.name}" for c in COMMANDS if c.live)


# -- settings -----------------------------------------------------------------------------


def shown(value: object) -> str:
    """Return a setting as a user writes it."""
    if isinstance(value, tuple):
        parts = [part if isinstance(part, str) else f"{part[0]}{part[1]:+g}" for part in value]
        return " ".join(repr(part) for part in parts) or "none"
    if value is None or value == "":
        return "none"
    return repr(value) if isinstance(value, str) else f"{value:.12g}"


def parse(name: str, label: str, value: str) -> Any:
    """Return the value of a setting by the type of its field.

    Args:
        name: the field.
        label: what an error calls it.
        value: as typed; texts in quotes may hold spaces, a newline is ``\\n``.

    Raises:
        ConfigError: it is not of that type.
    """
    kind = TYPES[name]
    try:
        if kind == int | None:
            return None if value in ("", "none") else int(value)
        if kind in (int, float):
            return kind(value)
    except ValueError:
        raise ConfigError(f"{label} wants a number, not {value!r}") from None
    if kind is str:
        return "".join(_texts(label, value))
    texts = tuple(_texts(label, value))
    return texts if kind == tuple[str, ...] else tuple(_bias(label, text) for text in texts)


def _texts(label: str, value: str) -> list[str]:
    """Return texts apart by spaces, some of them in quotes."""
    lexer = shlex.shlex(value, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return [] if value == "none" else [unescape(text) for text in lexer]
    except ValueError:
        raise ConfigError(f"{label} wants texts, and a quote is open in {value!r}") from None


def _bias(label: str, text: str) -> tuple[str, float]:
    try:
        return text[:1], float(text[1:])
    except ValueError:
        wanted = "a character and its bias, such as e-2"
        raise ConfigError(f"{label} wants {wanted}, not {text!r}") from None


def _setting(name: str) -> str:
    """Return the field that a user's name for a setting means."""
    field = name.replace("-", "_")
    if field not in TYPES:
        near = difflib.get_close_matches(field, TYPES, 1)
        meant = f"did you mean {near[0].replace('_', '-')}?" if near else "/show lists them"
        raise ConfigError(f"{name!r} is no setting; {meant}")
    return field


def _change(session: Session, name: str, label: str, value: str) -> Said:
    changed = replace(session.config, **{name: parse(name, label, value)})
    session.config = changed
    return Said(f"{label.removeprefix('/')} is {shown(getattr(changed, name))}")


def _number(label: str, name: str) -> Callable[[Session, str], Answer]:
    """Return what a command with one number does; without the number it tells it."""

    def act(session: Session, value: str) -> Answer:
        if not value:
            return Said(f"{label} is {shown(getattr(session.config, name))}")
        return _change(session, name, f"/{label}", value)

    return act


def _set(session: Session, value: str) -> Answer:
    name, _, rest = value.partition(" ")
    if not name:
        return _show(session, "")
    field = _setting(name)
    return _change(session, field, field.replace("_", "-"), rest.strip())


def _stop(session: Session, value: str) -> Answer:
    session.config = replace(session.config, stop=(unescape(value),) if value else ())
    return Said(f"stop is {shown(session.config.stop)}")


def _show(session: Session, _: str) -> Answer:
    lines = []
    for name, default in vars(DEFAULTS).items():
        value = getattr(session.config, name)
        mark = "*" if value != default else " "
        lines.append(f"{mark} {name.replace('_', '-'):<22} {shown(value)}")
    return Said("\n".join([*lines, "* differs from the default; /set NAME VALUE changes it"]))


# -- the text -----------------------------------------------------------------------------


def _retry(session: Session, _: str) -> Answer:
    pieces = session.retry()
    return Writing(session.turns[-1].asked, pieces, again=True)


def _undo(session: Session, _: str) -> Answer:
    session.undo()
    return _where(session, "undone")


def _reset(session: Session, _: str) -> Answer:
    session.reset()
    return Said("the text is forgotten")


def _branch(session: Session, value: str) -> Answer:
    if not value:
        raise ConfigError("/branch wants a name")
    session.branch(value)
    return Said(f"branch {value!r} is the text as it stands; /go {value} comes back to it")


def _go(session: Session, value: str) -> Answer:
    if value:
        session.go(value)
        return _where(session, f"on branch {value!r}")
    lines = [f"{name!r}: {help}" for name, help in _branches(session).items()]
    return Said("\n".join(lines) or "there are no branches; /branch NAME makes one")


def _branches(session: Session) -> dict[str, str]:
    texts = {name: "".join(t.text for t in turns) for name, turns in session.branches.items()}
    return {name: f"{len(text):,} characters, ends {text[-30:]!r}" for name, text in texts.items()}


def _where(session: Session, words: str) -> Said:
    return Said(f"{words}: the text has {len(session.text):,} characters")


def _heat(session: Session, _: str) -> Answer:
    return Heat(session.heat())


def _edit(session: Session, _: str) -> Answer:
    return Edit(session.text)


# -- files --------------------------------------------------------------------------------


def _path(command: str, value: str) -> Path:
    if not value or "\0" in value:
        raise ConfigError(f"{command} wants the name of a file")
    try:
        return Path(value).expanduser()
    except RuntimeError:  # ~nobody
        return Path(value)


def _save(session: Session, value: str) -> Answer:
    if _exists(_path("/save", value)):
        raise StorageError(f"{value!r} exists; /save! {value} takes its place")
    return _save_over(session, value)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for one; writing says so
        return False


def _save_over(session: Session, value: str) -> Answer:
    text = session.text
    write_whole(_path("/save!", value), text.encode())
    return Said(f"{len(text):,} characters are in {value!r}")


def _load(session: Session, value: str) -> Answer:
    text = read_small_text(_path("/load", value))
    session.rewrite(text)
    return rewritten(session, text)


def rewritten(session: Session, text: str) -> Said:
    """Say that a session has taken a text, and what of it the model never saw."""
    unseen = unknown_note(session.sampler.tokenizer, text)
    return Said(_where(session, "read").words + (f"\n{unseen}" if unseen else ""))


# -- the table ----------------------------------------------------------------------------


def _help(_: Session, __: str) -> Answer:
    return Said(help_text())


def help_text() -> str:
    """Return what ``/help`` says."""
    usages = [(f"/{c.name} {c.argument}".strip(), c.help) for c in COMMANDS]
    return "\n".join([INTRODUCTION, *(f"{usage:<18} {help}" for usage, help in usages), KEYS])


INTRODUCTION = """\
Write a line and press Enter: the model goes on, and remembers the text so far.
An empty line goes on where the text stands; two slashes begin a line with one."""
KEYS = """\
In a terminal the grey text is what the model would write: Tab or right takes
it, Alt-right a word of it, Ctrl-Space lists others. Ctrl-C stops the text, on
an empty line twice leaves; so does Ctrl-D."""


def _settings(_: Session) -> dict[str, str]:
    return {name.replace("_", "-"): help for name, help in HELP.items()}


COMMANDS = (
    Command("temp", "0.7", HELP["temperature"], _number("temp", "temperature"), live=True),
    Command("length", "N", HELP["length"], _number("length", "length"), live=True),
    Command("seed", "N", "seed of the draws; none: random ones", _number("seed", "seed"), True),
    Command("stop", "TEXT", "end at this text; without one, only at the length", _stop, live=True),
    Command("set", "NAME VALUE", "change any setting, as in /set top-p 0.9", _set, True, _settings),
    Command("show", "", "show all settings", _show, live=True),
    Command("retry", "", "draw the last text anew, from the same place", _retry),
    Command("undo", "", "take back the last change of the text, step by step", _undo),
    Command("branch", "NAME", "give the text as it stands a name", _branch, values=_branches),
    Command("go", "NAME", "go back to a branch; without a name, list them", _go, values=_branches),
    Command("edit", "", "open the text in $VISUAL or $EDITOR, then read it anew", _edit),
    Command("save", FILE, "write the text to a new file", _save),
    Command("save!", FILE, "write the text, replacing what the file holds", _save_over),
    Command("load", FILE, "read a text in place of this one", _load),
    Command("heat", "", "show how much the parts of the last text surprise the model", _heat),
    Command("reset", "", "forget the text so far", _reset),
    Command("help", "", "show this", _help, live=True),
    Command("bye", "", "leave", lambda _, __: Leave()),
)


def heat_table(pieces: list[ScoredToken]) -> str:
    """Return a line for each word: its surprise in bits, and the word."""
    lines = [f"{word.bits:6.1f}  {word.text!r}" for word in pieces]
    bits = sum(word.bits for word in pieces) / max(1, sum(len(word.text) for word in pieces))
    return "\n".join(["  bits  word", *lines, f"{bits:.2f} bits a character"])

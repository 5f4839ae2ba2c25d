"""Commands of a session, as a table: help, completion and execution follow from ``COMMANDS``.

Nothing here shows anything: a line leads to an answer, which the caller displays.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from chargen.config import require, unescape
from chargen.data.collecting import shown_label
from chargen.data.dataset import read_like
from chargen.display.output import quoted, unknown_note
from chargen.errors import ConfigError, CorpusError, StorageError
from chargen.evaluation.surprisal import ScoredToken
from chargen.repl import Session, path_of, settings
from chargen.storage.files import write_whole
from chargen.tokenizers.byte import bytes_of

FILE = "FILE"  # an argument that completes to the names of files
LISTED = 200  # lines before and behind the cursor that Tab lists
TEXT = "[TEXT]"  # an argument that is added to the text, as it is


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
class Choice:
    """Variants of a sentence, of which the next line may pick one by its number."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """A text to be opened in an editor; the result goes to ``load``."""

    text: str


@dataclass(frozen=True)
class Quit:
    """The end of the session."""


Answer = Message | Generation | Heat | Choice | Edit | Quit


@dataclass(frozen=True)
class Command:
    """A slash command.

    Attributes:
        name: without the slash.
        argument: name of its argument; empty if there is none.
        help: what it does.
        run: does it, given the argument, without spaces around it unless it is a TEXT to add.
        live: it may be given during generation, and takes effect at once.
        values: possible arguments with their help, for completion.
    """

    name: str
    argument: str
    help: str
    run: Callable[[Session, str], Answer]
    live: bool = False
    values: Callable[[Session], dict[str, str]] = lambda _: {}


def answer(session: Session, line: str, *, own_line: bool = False) -> Answer:
    """Run a slash command, or let the model continue after a line.

    Two slashes begin a line of text with one. A number picks one of the variants just shown.

    Args:
        session: the text.
        line: as typed; a text is added where the text stands.
        own_line: a text is added on a line of its own.

    Raises:
        ChargenError: a message for the user; the session is unchanged.
    """
    if session.variants and line in map(str, range(1, len(session.variants.texts) + 1)):
        turn = session.pick(int(line) - 1)
        return Generation(turn.line, iter([turn.generated]))
    if not line.startswith("/") or line.startswith("//"):
        line = line.removeprefix("/")
        warning = unknown_note(session.sampler.tokenizer, line)
        line = session.on_own_line(line) if own_line else line
        return Generation(line, session.generate(line), warning)
    name, _, value = line.partition(" ")
    command = find(name)
    if not command.argument and value.strip():
        raise ConfigError(f"{name} takes no argument; leave {value.strip()!r} out")
    return command.run(session, value if command.argument == TEXT else value.strip())


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


# -- settings ----------------------------------------------------------------------------


def _parameter(name: str) -> Callable[[Session, str], Answer]:
    """Return a command that changes a parameter; without a value it shows it."""

    def run(session: Session, value: str) -> Answer:
        change, told = settings.change, settings.told
        return Message(change(session, name, value) if value else told(session, name))

    return run


def _set(session: Session, value: str) -> Answer:
    name, _, rest = value.partition(" ")
    return Message(settings.change(session, name, rest.strip())) if name else _show(session, "")


def _stop(session: Session, value: str) -> Answer:
    texts = (unescape("stop", value),) if value else ()
    session.change(replace(session.config, stop=texts), session.rules)
    return Message(settings.told(session, "stop"))


def _show(session: Session, _: str) -> Answer:
    return Message(settings.table(session))


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
    texts = {name: draft.text for name, draft in session.branches.items()}
    return {
        name: f"{len(text):,} characters, the last are {text[-30:]!r}"
        for name, text in texts.items()
    }


def _size(session: Session, action: str) -> Message:
    return Message(f"{action}: the text has {len(session.text):,} characters")


def _variants(session: Session, value: str) -> Answer:
    texts = session.vary(value).texts
    if not texts:
        raise ConfigError("the model found no variants; another length or temperature may help")
    return Choice(texts)


def _at(session: Session, value: str) -> Answer:
    text, before = session.text, len(session.draft.before)
    if not value:
        session.move(len(text))
        return Message("at the end of the text")
    place = _end_of_line(text, int(value)) if _is_number(value) else _found(text, value, before)
    session.move(place)
    number, rest = text.count("\n", 0, place) + 1, session.draft.rest
    line = session.draft.line[-30:]
    after = f"after {line!r}" if line else "at its beginning"
    return Message(f"line {number}, {after}; {len(rest):,} characters stay behind; /at: the end")


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 10


def _end_of_line(text: str, number: int) -> int:
    lines = text.split("\n")
    allowed = f"0 (before the first line) to {len(lines)}, or words of the text"
    require(number <= len(lines), "line", number, allowed)
    return max(0, sum(len(line) + 1 for line in lines[:number]) - 1)


def _found(text: str, value: str, before: int) -> int:
    """Return the place after words of a text: before the cursor, or else the last one."""
    quoted = len(value) > 2 and value[0] == value[-1] == '"'
    words = value[1:-1] if quoted else unescape("/at", value)
    place = text.rfind(words, 0, max(0, before - 1))
    place = text.rfind(words) if place < 0 else place
    if place < 0:
        raise ConfigError(f"{words!r} is not in the text; give a line's number or other words")
    return place + len(words)


def _lines(session: Session) -> dict[str, str]:
    """Return the lines around the cursor by their numbers."""
    lines, here = session.text.split("\n"), session.draft.before.count("\n")
    first = max(0, here - LISTED)
    return {str(n): line[:60] for n, line in enumerate(lines[first : here + LISTED], first + 1)}


def _heat(session: Session, _: str) -> Answer:
    return Heat(session.heat())


def _edit(session: Session, _: str) -> Answer:
    return Edit(session.text)


# -- labels -------------------------------------------------------------------------------


def _label(session: Session, value: str) -> Answer:
    names = session.sampler.labels
    if value:
        session.relabel(None if value == "none" and value not in names else value)
        return Message(f"label is {session.draft.label or 'none'}")
    if not names:
        return Message("the model has no labels")
    lines = [f"{'*' if name == session.draft.label else ' '} {shown_label(name)}" for name in names]
    hint = "/label NAME sets one, NAME=0.7,NAME=0.3 several, none none"
    return Message("\n".join([*lines, f"label is {session.draft.label or 'none'}; {hint}"]))


def _labels(session: Session) -> dict[str, str]:
    return dict.fromkeys(session.sampler.labels, "") | {"none": "No label."}


# -- files --------------------------------------------------------------------------------


def _path(command: str, value: str) -> Path:
    if not value or "\0" in value:
        raise ConfigError(f"{command} needs the name of a file")
    return path_of(value)


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
What you type goes on where the text stands, also in the middle of a line.
Enter lets the model go on after it, or after the text if nothing is typed;
Alt-Enter begins a new line. Two slashes begin a text with one."""
KEYS = """\
In a terminal, the grey text is the most likely continuation: Tab or right
accepts it, Alt-right a word of it, Ctrl-Space lists others, Alt-v shows whole
sentences. Ctrl-C stops the generation; twice with nothing typed it quits, as
Ctrl-D does."""


def _settings(_: Session) -> dict[str, str]:
    return {name.replace("_", "-"): help for name, help in settings.HELP.items()}


COMMANDS = (
    Command("temp", "X", settings.HELP["temperature"], _parameter("temp"), live=True),
    Command("length", "N", "Characters to generate per turn.", _parameter("length"), live=True),
    Command("seed", "N", "Random seed; none: random.", _parameter("seed"), live=True),
    Command("stop", "TEXT", "Stop at this text; without one, at the length.", _stop, live=True),
    Command(
        "set", "NAME VALUE", "Change any setting, as in /set until sentence.", _set, True, _settings
    ),
    Command("show", "", "Show all settings.", _show, live=True),
    Command(
        "label", "NAME", "Set the label of the text; alone: show them.", _label, values=_labels
    ),
    Command("retry", "", "Generate the last turn again, with other random numbers.", _retry),
    Command("undo", "", "Undo the last change of the text.", _undo),
    Command("branch", "NAME", "Give the text a name.", _branch, values=_branches),
    Command("go", "NAME", "Return to a branch; without a name, list them.", _go, values=_branches),
    Command(
        "at",
        "PLACE",
        "Insert after a line's number or words; alone: at the end.",
        _at,
        values=_lines,
    ),
    Command("variants", TEXT, "Show three sentences to follow; a number picks one.", _variants),
    Command("edit", "", "Open the text in an editor, then load it.", _edit),
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

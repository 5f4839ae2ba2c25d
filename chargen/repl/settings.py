"""Settings of a session by name: sampling parameters, and the constraints on what is generated."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import fields, replace
from typing import Any, get_type_hints

from chargen.config import SampleConfig, read_bias, unescape
from chargen.errors import ConfigError
from chargen.repl import DEFAULTS, Rules, Session

TYPES = get_type_hints(SampleConfig) | get_type_hints(Rules)
HELP = {f.name: str(f.metadata["help"]) for f in (*fields(SampleConfig), *fields(Rules))}
VERBATIM = {"regex", "words"}  # typed as they are, without quotes and escapes


def typed_names(config: type) -> dict[str, str]:
    """Return the names that people type for the fields of a config class, and those fields.

    They are the options of the command line without their dashes, and the fields' own names.
    """
    names: dict[str, str] = {}
    for known in fields(config):
        for name in (known.name, *known.metadata.get("flags", ())):
            names[name.lstrip("-").replace("_", "-")] = known.name
    return names


NAMES = typed_names(SampleConfig) | typed_names(Rules)  # and the field of each


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
    if name in VERBATIM:
        return None if value in ("", "none") else value
    if kind in (str, str | None):
        return "".join(_texts(label, value)) or ("" if kind is str else None)
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


def change(session: Session, label: str, value: str) -> str:
    """Change the setting of a name, as typed, and return its new value.

    Raises:
        ConfigError: there is no such setting, or it cannot have this value; nothing is changed.
    """
    name = label.replace("_", "-")
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        meant = f"did you mean {near[0]}?" if near else "/show lists them"
        raise ConfigError(f"{label} is not a setting; {meant}")
    field, config, rules = NAMES[name], session.config, session.rules
    changed = {field: parse(field, name, value)}
    if field in vars(rules):
        rules = replace(rules, **changed)
    else:
        config = replace(config, **changed)
    session.change(config, rules)
    return told(session, name)


def told(session: Session, name: str) -> str:
    """Return the value of the setting of a name, in words."""
    field = NAMES[name]
    value = (vars(session.config) | vars(session.rules))[field]
    return f"{name} is {value if value and field in VERBATIM else shown(value)}"


def table(session: Session) -> str:
    """Return all settings, changed ones marked."""
    lines = []
    values = vars(session.config) | vars(session.rules)
    for field, default in (vars(DEFAULTS) | vars(Rules())).items():
        mark = "*" if values[field] != default else " "
        _, _, value = told(session, field.replace("_", "-")).partition(" is ")
        lines.append(f"{mark} {field.replace('_', '-'):<22} {value}")
    return "\n".join([*lines, "* differs from the default; /set NAME VALUE changes it"])

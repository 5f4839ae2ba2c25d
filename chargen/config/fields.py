"""Fields of settings, from which the command line is made, and the checks of their values."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Collection, Iterable
from dataclasses import field, fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from chargen.errors import ConfigError

T = TypeVar("T")
KINDS = ((float, "a number"), (int, "a whole number"), (str, "a text"))
DEVICES = ("auto", "cpu", "cuda", "mps")
MOST_THREADS = 4096


def fresh_seed() -> int:
    """Return a random seed for those who gave none; short enough to be typed again."""
    return random.randrange(1 << 32)


def documented(
    default: T,
    help: str,
    group: str = "",
    *flags: str,
    metavar: str | None = None,
    escapes: bool = False,
) -> T:
    """Declare a dataclass field that the command line offers as an option.

    Args:
        default: of the field.
        help: one sentence, with the unit and what turns it off.
        group: under which the help lists it; none is the first group.
        flags: its names on the command line, if not that of the field.
        metavar: what stands for its value in the help; by default one for its type.
        escapes: whether ``unescape`` is applied to what is typed.
    """
    shown = {"help": help, "group": group, "flags": flags}
    return field(default=default, metadata={**shown, "metavar": metavar, "escapes": escapes})


def help_of(config: type, name: str) -> str:
    """Return the help text of one field of a config class."""
    return str(next(f.metadata["help"] for f in fields(config) if f.name == name))


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise a ConfigError that names the setting, its value and what is allowed."""
    if not condition:
        raise ConfigError(f"{name} is {value!r}; allowed: {allowed}")


def require_count(name: str, value: object, most: int | None = None) -> None:
    """Raise a ConfigError unless a value is a whole number from 1 to ``most``."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= (most or value)
    require(fits, name, value, f"1 to {most}" if most else "1 or more")


def check_threads(threads: int | None) -> None:
    """Raise a ConfigError unless a number of CPU threads is None or one that a machine can have."""
    require_count("threads", 1 if threads is None else threads, MOST_THREADS)


def check_types(config: Any) -> None:
    """Refuse values of the wrong type, which only Python code can give, in our own words."""
    for name, kind in get_type_hints(type(config)).items():
        value, kinds = getattr(config, name), get_args(kind) or (kind,)
        allowed = next((words for own, words in KINDS if own in kinds), "")
        if not allowed or get_origin(kind) is tuple or (value is None and NoneType in kinds):
            continue
        numbers = (int, float) if float in kinds else (*(k for k in kinds if k is not NoneType),)
        fits = isinstance(value, numbers) and not isinstance(value, bool)
        require(fits, name.replace("_", "-"), value, allowed)


def refuse(given: Iterable[str], own: Collection[str], why: str) -> None:
    """Raise a ConfigError that names the settings that were given and are not allowed.

    Args:
        given: names of settings.
        own: those that are not allowed.
        why: the beginning of the message.
    """
    named = ", ".join(f"--{name.replace('_', '-')}" for name in given if name in own)
    if named:
        raise ConfigError(f"{why}; leave {named} out")


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def unescape(label: str, text: str, literally: str = "") -> str:
    r"""Return a text with ``\n``, ``\t``, ``\r`` and ``\\`` in place of what shells cannot type.

    Args:
        label: name of the setting in an error.
        text: as typed; files, standard input and Python give texts as they are.
        literally: how to give the text as it is, for the error.

    Raises:
        ConfigError: another character, or none, follows a backslash.
    """

    def character(found: re.Match[str]) -> str:
        if found[1] in ESCAPES:
            return ESCAPES[found[1]]
        seen = f"\\{repr(found[1])[1:-1]}" if found[1] else "a single \\ at its end"
        allowed = r"allowed escapes: \n, \t, \r, and \\ for a backslash"
        raise ConfigError(f"{label} has {seen}; {allowed}{literally}")

    return re.sub(r"\\(.?)", character, text, flags=re.DOTALL)


def read_bias(label: str, text: str) -> tuple[str, float]:
    """Read a character and what is added to its logit, such as ``e-2.5``.

    Raises:
        ConfigError: the text is not of this form.
    """
    with contextlib.suppress(ValueError):
        return text[:1], float(text[1:])
    raise ConfigError(f"{label} is {text!r}; allowed: a character and a number, such as e-2")

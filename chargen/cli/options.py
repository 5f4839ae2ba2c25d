"""Options of the command line, made from the config dataclasses and shown in one style."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import re
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.models import OptionInfo

from chargen.config import fresh_seed, read_bias, unescape
from chargen.errors import ConfigError

METAVARS = {int: "N", float: "X", bool: "", Path: "FILE"}  # of options that name none themselves


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command in which each parameter of a config class becomes one option per field.

    The command is called with the config made of them; a field without an option keeps its
    default. ``Annotated[Config, ("a", "b")]`` offers these fields only. Options that name no
    placeholder get one by their type, and each says its default.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    parameters, configs = [], {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind, *notes = typing.get_args(hint := hints[name]) or (hint,)
        if isinstance(kind, type) and is_dataclass(kind):
            configs[name] = kind
            offered = notes[0] if notes else [f.name for f in fields(kind) if f.metadata]
            parameters += [_parameter(kind, f) for f in fields(kind) if f.name in offered]
        else:
            parameters.append(_shown(parameter.replace(annotation=hint)))

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        made = {name: make(config, given) for name, config in configs.items()}
        own = {name: given[name] for name in hints if name in given}
        command(**own, **made)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapper.__wrapped__  # inspect would take its signature instead
    return wrapper


def make(config: type, given: dict[str, Any]) -> Any:
    """Return a config from the options given; those left out keep the field's default."""
    values = {}
    for field in fields(config):
        value = given.get(field.name)
        if field.name == "seed" and value is None and field.type == "int":
            values["seed"] = fresh_seed()
        elif value is not None:
            values[field.name] = _value(field, value)
    return config(**values)


def _value(field: Field[Any], value: Any) -> Any:
    """Return the value of a field from that of its option."""
    if field.metadata.get("escapes"):
        label, texts = field.name.replace("_", "-"), [value] if isinstance(value, str) else value
        texts = [unescape(label, as_text(text)) for text in texts]
        value = tuple(texts) if "tuple" in str(field.type) else texts[0]
    if field.name == "logit_bias":
        return tuple(read_bias("logit-bias", text) for text in value)
    return value


def as_text(argument: str) -> str:
    """Return an argument as UTF-8, whatever the locale took its bytes for."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{argument!r} is not UTF-8; write it so") from None


UNITS = ("s(?:ec(?:ond)?s?)?", "m(?:in(?:ute)?s?)?", "h(?:(?:ou)?rs?)?", "d(?:ays?)?")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``2min``, ``1h30m`` or ``1.5 hours``."""
    number = r"([0-9]+(?:\.[0-9]+)?)\s*"
    if re.fullmatch(number, text):
        return float(text)
    part = rf"{number}({'|'.join(UNITS)})\s*"
    if not re.fullmatch(rf"({part})+", text, re.IGNORECASE):
        raise typer.BadParameter(
            f"{text!r} is not a valid duration; write 90s, 2m, 1h30m, 1.5h or 2d"
        )
    parts = re.findall(part, text, re.IGNORECASE)
    return sum(float(value) * SECONDS[unit[0].lower()] for value, unit in parts)


PARSERS = {"DURATION": parse_duration}


# -- from fields to parameters ------------------------------------------------------------


def _parameter(config: type, field: Field[Any]) -> inspect.Parameter:
    """Return the option of a field."""
    told, default = field.metadata, None if field.default is MISSING else field.default
    kind = _option_type(typing.get_type_hints(config)[field.name])
    if field.name == "seed":
        default, kind = None, int | None
    elif kind == list[str] | None:
        default = None
    elif told.get("escapes") and isinstance(default, str):
        default = default.replace("\n", r"\n")
    option = typer.Option(
        *told["flags"],
        help=told["help"],
        rich_help_panel=told["group"] or None,
        metavar=told["metavar"],
        parser=PARSERS.get(told["metavar"] or ""),
    )
    parameter = inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )
    return _shown(parameter)


def _option_type(kind: Any) -> Any:
    """Return the type of an option for a field of this type."""
    return list[str] | None if typing.get_origin(kind) is tuple else kind


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter with a placeholder for its value and its default in the help."""
    kind, *notes = typing.get_args(parameter.annotation) or (parameter.annotation,)
    option = next((note for note in notes if isinstance(note, OptionInfo)), None)
    keyword = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    if option is None or not option.help:
        return keyword
    shown = copy.copy(option)
    if shown.metavar is None:
        shown.metavar = METAVARS.get(_inner(kind), "TEXT")
    if shown.show_default is True:
        shown.show_default = False
        default = parameter.default
        if isinstance(default, str | int | float) and default not in ("", False):
            words = default if not isinstance(default, bool) else "on"
            shown.help = f"{option.help.removesuffix('.')}; default: {words}."
    return keyword.replace(annotation=Annotated[kind, shown])


def _inner(kind: Any) -> Any:
    """Return the type inside of an optional one."""
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind

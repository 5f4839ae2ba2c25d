"""Settings from a preset or a TOML file, which options of the command line override."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from chargen.config import ESCAPES, TrainConfig, require
from chargen.errors import ConfigError
from chargen.model.options import PRESETS, preset_settings

FLAGS = {field.name for field in fields(TrainConfig) if field.type == "bool"}
WRITTEN = {meant: f"\\{letter}" for letter, meant in ESCAPES.items()}

APART = (
    *("corpus", "name", "resume", "append", "force", "config"),
    *("quiet", "as_json", "tensorboard"),
)
"""Options of a call, not of a run: they have no place in a file."""


@contextlib.contextmanager
def _as_usage() -> Iterator[None]:
    """Show an error as one of the command line, since no command runs yet."""
    try:
        yield
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


@_as_usage()
def _use_preset(ctx: typer.Context, name: str | None) -> str | None:
    """Let a preset's settings be the defaults; they count more than a file's."""
    if name is not None:
        below = {key: value for key, value in (ctx.default_map or {}).items() if key != "stack"}
        ctx.default_map = {**below, **_typed(preset_settings(name))}
    return name


@_as_usage()
def _use_file(ctx: typer.Context, path: Path | None) -> Path | None:
    """Let a file's settings be the defaults."""
    if path is not None:
        known = [p.name for p in ctx.command.params if p.name and p.name not in APART]
        above = ctx.default_map or {}
        below = read_settings(path, known)
        if "layers" in above:
            below.pop("stack", None)
        ctx.default_map = {**below, **above}
    return path


def read_settings(path: Path, known: list[str]) -> dict[str, str]:
    """Read a flat TOML file whose keys are the names of options.

    Values are returned as they would be typed, so that the command line's own checks apply.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has a key or value that no option
            takes.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read --config {str(path)!r}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--config {str(path)!r} is not TOML: {error}") from None
    settings = {key.replace("-", "_"): value for key, value in values.items()}
    for key, value in settings.items():
        if key in FLAGS:
            require(
                isinstance(value, bool), f"{key} in --config {str(path)!r}", value, "true, false"
            )
        elif key not in known or isinstance(value, bool | list | dict):
            names = ", ".join(sorted(name.replace("_", "-") for name in known))
            raise ConfigError(f"--config {str(path)!r} says {key} = {value!r}; allowed: {names}")
    below = preset_settings(settings.pop("preset")) if "preset" in settings else {}
    return _typed({**below, **settings})


def _typed(settings: dict[str, Any]) -> dict[str, str]:
    """Return values as they would be typed."""
    return {name: str(value) for name, value in settings.items()}


def escape(text: object) -> str | None:
    """Return a text as an option takes it: with the escapes that ``unescape`` reads."""
    if not isinstance(text, str):
        return None
    return "".join(WRITTEN.get(character, character) for character in text)


def to_toml(settings: dict[str, Any]) -> str:
    """Return settings as TOML for ``read_settings``; those that are None are left out."""
    import tomli_w

    given = {name.replace("_", "-"): v for name, v in settings.items() if v is not None}
    return tomli_w.dumps(given)


Preset = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help=f"Model size: {', '.join(PRESETS)}; default: automatic.",
        callback=_use_preset,
        is_eager=True,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of settings, as `chargen info --toml` writes it.",
        callback=_use_file,
        is_eager=True,
    ),
]

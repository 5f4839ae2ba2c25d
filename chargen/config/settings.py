"""Settings by name, as Python code and the command line give them."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from chargen.config.sampling import SampleConfig, check_used
from chargen.errors import ConfigError


def from_settings(settings: dict[str, Any], *configs: type) -> list[Any]:
    """Return a config of each class from settings by name; a setting belongs to one of them.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, out of its range, or of no effect.
    """
    known = {f.name: config for config in configs for f in fields(config) if f.metadata}
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(known)}"
            raise ConfigError(f"{name} is not a setting{meant}")
    made = [
        config(**{name: value for name, value in settings.items() if known[name] is config})
        for config in configs
    ]
    for config in made:
        if isinstance(config, SampleConfig):
            check_used(config)
    return made

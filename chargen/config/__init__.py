"""Settings of reading, training and sampling, as frozen dataclasses.

Each field carries its help, its group and its flags, from which the command line is made;
the defaults of the command line are the defaults here, written once. What a model consists of
stands in ``model.spec``.
"""

from __future__ import annotations

from chargen.config.fields import (
    DEVICES,
    ESCAPES,
    MOST_THREADS,
    check_threads,
    check_types,
    documented,
    fresh_seed,
    help_of,
    read_bias,
    refuse,
    require,
    require_count,
    unescape,
)
from chargen.config.reading import TOKENIZERS, ReadConfig
from chargen.config.sampling import UNITS, SampleConfig
from chargen.config.settings import from_settings
from chargen.config.training import (
    DEFAULT_TIME,
    OPTIMIZERS,
    PRECISIONS,
    TrainConfig,
)

__all__ = [
    "DEFAULT_TIME",
    "DEVICES",
    "ESCAPES",
    "MOST_THREADS",
    "OPTIMIZERS",
    "PRECISIONS",
    "TOKENIZERS",
    "UNITS",
    "ReadConfig",
    "SampleConfig",
    "TrainConfig",
    "check_threads",
    "check_types",
    "documented",
    "fresh_seed",
    "from_settings",
    "help_of",
    "read_bias",
    "refuse",
    "require",
    "require_count",
    "unescape",
]

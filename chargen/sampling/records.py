"""Where texts begin and end: records after the character END, and texts with a label.

A model of records has read END before the first token of a text, and a text is over when it samples
END, which is not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from chargen.config import ReadConfig, SampleConfig, from_settings
from chargen.data.decoding import as_read
from chargen.engine import Engine, Logits, State
from chargen.engine.labels import Labelled, label_weights
from chargen.errors import ConfigError
from chargen.tokenizers import Tokenizer

if TYPE_CHECKING:
    from chargen.sampling.decoding import Sample
    from chargen.sampling.sampler import Sampler

S = TypeVar("S", bound="Sampler")
Label = str | Mapping[str, float]
"""The name of a label, or weights by name, which may be typed as ``a=0.7,b=0.3``."""
MOST = 10_000  # characters of a record for which no length is given
FORMS = {"lines": "line", "rows": "row", "files": "file"}


def begin(engine: Engine, tokenizer: Tokenizer, end: str | None) -> tuple[State, Logits]:
    """Return the state before a text, and the logits (V,) of its first token if they are known."""
    state = engine.init_state(1)
    if end is None:
        return state, np.zeros(0, np.float32)
    out, state = engine.run(tokenizer.encode(end)[None].astype(np.int64), state)
    return state, out[0, -1]


def with_end(config: SampleConfig, end: str | None) -> SampleConfig:
    """Return sampling parameters with which a text ends at END too."""
    if end is None or end in config.stop:
        return config
    return replace(config, stop=(*config.stop, end))


def sample_config(settings: dict[str, Any], reading: ReadConfig) -> SampleConfig:
    """Return sampling parameters by name; without a length a record goes on to its end.

    Raises:
        ConfigError: a setting is unknown or out of its range.
    """
    own = {"length": MOST} if reading.end else {}
    config: SampleConfig
    (config,) = from_settings({**own, **settings}, SampleConfig)
    return config


def as_prompt(text: str, reading: ReadConfig) -> str:
    """Return a prompt as the model reads it; see ``as_read``.

    Raises:
        ConfigError: it is not a text, or holds the end of a record.
    """
    text = as_read(text, reading, "prompt")
    if reading.end and reading.end in text:
        form = FORMS[reading.records or ""]
        raise ConfigError(
            f"prompt holds {reading.end!r}, which ends a record of this model; "
            f"allowed: the beginning of one {form}"
        )
    return text


def is_over(sample: Sample, tokenizer: Tokenizer, end: str | None) -> bool:
    """Tell whether a text is over because its record is."""
    stopped = end is not None and sample.finish_reason == "stop"
    return stopped and (end or "") in tokenizer.decode(sample.tokens[-1:])


# -- labels -------------------------------------------------------------------------------


def labelled(sampler: S, given: Label) -> S:
    """Return a sampler of texts with a label; see ``Sampler.labelled``."""
    weights, other = label_weights(sampler.labels, given), copy(sampler)
    assert isinstance(sampler.engine, Labelled)
    other.engine, other.label = sampler.engine.of(weights), given
    return other

"""Architecture as far as it is given on the command line or in Python: a stack, or sizes."""

from __future__ import annotations

from dataclasses import dataclass

from chargen.config import check_types, documented, require
from chargen.errors import ConfigError
from chargen.model.ngrams import MOST_ORDER
from chargen.model.spec import LayerConfig, parse_stack

PRESETS = {  # layers and hidden units, smaller models first
    "tiny": (1, 128),
    "small": (1, 256),
    "base": (1, 512),
    "large": (2, 512),
    "huge": (2, 768),
    "giant": (2, 1024),
}


def preset_settings(name: str) -> dict[str, int]:
    """Return the layers and hidden units of a preset, as settings by name.

    Raises:
        ConfigError: there is no such preset.
    """
    require(name in PRESETS, "preset", name, ", ".join(PRESETS))
    layers, hidden = PRESETS[name]
    return {"layers": layers, "hidden": hidden}


MODEL = "Model"
BASE_SETTINGS = {  # of the model that a run begins from
    *("preset", "stack", "cell", "hidden", "layers", "embedding", "ngram_order"),
    *("tokenizer", "vocab_size"),
    *("recurrent_init", "recurrent_scale", "input_init", "forget_bias"),
}


@dataclass(frozen=True)
class ModelOptions:
    """The architecture as far as it is given; what is None is chosen."""

    stack: str | None = documented(
        None, "Layers, bottom first, as in gru:128,lstm:64 or conv:4x2:128,gru:256.", MODEL
    )
    cell: str | None = documented(None, "Recurrent cell, as `chargen cells` lists them.", MODEL)
    hidden: int | None = documented(
        None, "Hidden units per layer.", MODEL, "--hidden", "--hidden-size"
    )
    layers: int | None = documented(None, "Number of layers.", MODEL)
    embedding: int | None = documented(None, "Width of the token embedding.", MODEL)
    ngram_order: int | None = documented(
        None, "Longest n-gram with an embedding; 1: none; default: by text and epochs.", MODEL
    )

    def __post_init__(self) -> None:
        check_types(self)
        given = [name for name in ("cell", "hidden", "layers") if getattr(self, name) is not None]
        if self.stack is not None and given:
            raise ConfigError("--stack says it all; leave --preset, --cell, --hidden, --layers out")
        layers, width = self.layers, self.embedding
        require(layers is None or 1 <= layers <= 64, "number of layers", layers, "1 to 64")
        require(width is None or 1 <= width <= 16384, "embedding", width, "1 to 16384")
        order = self.ngram_order
        require(order is None or 1 <= order <= MOST_ORDER, "n-gram order", order, "1 to 16")
        self.stacks()

    def with_preset(self, preset: str | None) -> ModelOptions:
        """Return the options with the layers and hidden units of a preset where none are given.

        Raises:
            ConfigError: there is no such preset, or a stack is given too.
        """
        if preset is None:
            return self
        own = {name: value for name, value in vars(self).items() if value is not None}
        return ModelOptions(**{**preset_settings(preset), **own})

    def stacks(self) -> tuple[tuple[LayerConfig, ...], ...]:
        """Return the stacks to choose from, smaller ones first: the presets with the given values.

        Raises:
            ConfigError: a cell or a width is not allowed.
        """
        if self.stack is not None:
            return (parse_stack(self.stack),)
        cell = LayerConfig.kind if self.cell is None else self.cell
        stacks = []
        for layers, hidden in PRESETS.values():
            layer = LayerConfig(cell, hidden if self.hidden is None else self.hidden)
            stacks.append((layer,) * (layers if self.layers is None else self.layers))
        return tuple(dict.fromkeys(stacks))

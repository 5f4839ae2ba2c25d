"""``chargen inspect stack``: a drawing of the network, from the tokens to the logits."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from chargen.cli import common, side_by_side
from chargen.errors import ConfigError
from chargen.model.spec import ModelConfig, format_stack, parse_stack

BYTES = 256  # tokens of a stack without a model
PANEL = "A stack without a model"


def stack(
    model: common.Model = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--stack",
            help="Layers to draw, bottom first, as in gru:128,lstm:64.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(help=f"Number of tokens; default: {BYTES}, of bytes.", rich_help_panel=PANEL),
    ] = None,
    embedding: Annotated[
        int | None,
        typer.Option(
            help=f"Width of the token embedding; default: {ModelConfig.embedding}.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    plot: side_by_side.Plot = None,
    as_json: side_by_side.Json = False,
) -> None:
    """Draw the stack of a network with its shapes, parameters and state.

    The picture of --plot also shows the network unrolled in time.
    """
    if plot:
        from chargen.display.charts import check_picture

        check_picture(plot)
    if layers is None:
        name, config, counts = _opened(model, vocab_size=vocab_size, embedding=embedding)
    else:
        name, config, counts = None, _described(layers, model, vocab_size, embedding), False

    from chargen.display.diagram import as_text
    from chargen.display.output import visible
    from chargen.inspection.stack import describe, diagram

    drawn, words = diagram(config, counts=counts), format_stack(config.layers)
    if plot:
        from chargen.display.charts import save_figure
        from chargen.display.unrolled import draw

        save_figure(draw(drawn, name or words), plot)
    if as_json:
        side_by_side.write_json({"name": name, "stack": words, **describe(drawn)})
        return
    heading = f"{visible(name)}\n\n" if name else ""
    print(heading + as_text(drawn, ascii_only=not _has_boxes()))


def _described(
    layers: str, model: str | None, vocab_size: int | None, embedding: int | None
) -> ModelConfig:
    """Return the architecture of a stack without a model."""
    if model is not None:
        raise ConfigError("--stack and --model both say what to draw; leave one out")
    tokens = BYTES if vocab_size is None else vocab_size
    width = ModelConfig.embedding if embedding is None else embedding
    return ModelConfig(tokens, parse_stack(layers), width)


def _opened(model: str | None, **sizes: int | None) -> tuple[str, ModelConfig, bool]:
    """Return name and architecture of a model, and whether n-gram counts are mixed in."""
    for name, size in sizes.items():
        if size is not None:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} is for a stack without a model; add --stack lstm:512")
    from chargen.model.saved import open_model

    saved = open_model(model)
    return saved.name, saved.config, saved.mixture is not None


def _has_boxes() -> bool:
    """Tell whether the encoding of standard output has the characters of the boxes."""
    from chargen.display.diagram import ASCII

    try:
        "".join(map(chr, ASCII)).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True

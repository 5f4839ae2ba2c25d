"""``chargen export``: an ONNX file for other programs, or a page that writes by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargen.cli import common
from chargen.errors import ConfigError

if TYPE_CHECKING:
    from chargen.engine.html import Exported


def export(
    onnx: Annotated[Path | None, typer.Option(help="Output file for the ONNX graph.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Output file for a page that opens in a browser and writes by itself."),
    ] = None,
    model: common.Model = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantize the weights to int8: smaller, less exact.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Export a model for onnxruntime, or as an HTML page with an engine of its own."""
    from chargen.storage.files import check_output, write_whole

    file = onnx or html
    if file is None or (onnx and html):
        raise ConfigError("name one file: --onnx FILE for other programs, or --html FILE")
    check_output(file, force=force)

    from chargen.model.saved import open_model

    saved = open_model(model)
    if onnx:
        from chargen.engine.export import to_onnx

        write_whole(file, to_onnx(saved, int8=int8))
    else:
        from chargen.engine.html import to_html

        exported = to_html(saved, int8=int8)
        write_whole(file, exported.page)
        _tell(exported)
    print(file)


def _tell(exported: Exported) -> None:
    """Say on stderr how large a page is, how exact, and what of the training text it holds."""
    size, weights = len(exported.page), exported.weights
    each = f"{weights:,} weights, {size / weights:.2f} bytes each"
    exact = f"rounded to {exported.bits} bits" if exported.bits else "in int8 as in the model file"
    print(f"{size / 1e6:.1f} MB: {each}, {exact}", file=sys.stderr)
    if exported.has_text:
        print("the page holds the training text, in its n-gram counts", file=sys.stderr)

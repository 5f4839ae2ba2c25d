"""``chargen export``: a model as an ONNX file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chargen.cli import common


def export(
    onnx: Annotated[Path, typer.Option(help="Output file for the ONNX graph.")],
    model: common.Model = None,
    int8: common.Int8 = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Export a model as an ONNX graph, which runs in onnxruntime without chargen."""
    from chargen.storage.files import check_output, write_whole

    check_output(onnx, force=force)

    from chargen.engine.export import to_onnx
    from chargen.model.saved import open_model

    write_whole(onnx, to_onnx(open_model(model), int8=int8))
    print(onnx)

"""``chargen export``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chargen.cli import common
from chargen.errors import ChargenError


def export(
    onnx: Annotated[Path, typer.Option(help="File to write the ONNX graph to.")],
    model: common.Model = None,
    int8: common.Int8 = False,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write a model as an ONNX graph that needs onnxruntime and nothing of chargen."""
    if onnx.exists() and not force:
        raise ChargenError(f"{str(onnx)!r} exists; name another file, or add --force")

    from chargen.engine.export import to_onnx
    from chargen.model.saved import open_model
    from chargen.storage.files import write_whole

    write_whole(onnx, to_onnx(open_model(model), int8=int8))
    print(onnx)

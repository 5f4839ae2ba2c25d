"""``chargen cells``: the recurrent cells and their equations."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from chargen.config import require
from chargen.machine.torch import need_torch
from chargen.model.spec import CONVOLUTION, SPECS


def cells(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="CELL", help="Cells to show; default: all.")
    ] = None,
) -> None:
    """List the cells for --cell and --stack, with equations, references and parameter counts."""
    need_torch("chargen cells")
    for kind in kinds or ():
        require(kind in SPECS, "cell", kind, ", ".join(SPECS))
    from chargen.model.cells import CELL_CLASSES, Convolution

    classes = {**CELL_CLASSES, CONVOLUTION: Convolution}
    for number, name in enumerate(kinds or classes):
        text = (inspect.getdoc(classes[name]) or "").replace("::\n\n", "").replace("``", "")
        print("\n" * bool(number) + f"{name}\n{'=' * len(name)}\n{text}")

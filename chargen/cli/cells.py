"""``chargen cells``: the recurrent cells and their equations."""

from __future__ import annotations

import inspect

from chargen.machine.torch import need_torch


def cells() -> None:
    """List the cells for --cell and --stack, with equations, references and parameter counts."""
    need_torch("chargen cells")
    from chargen.model.cells import CELL_CLASSES

    for number, (name, cell) in enumerate(CELL_CLASSES.items()):
        text = (inspect.getdoc(cell) or "").replace("::\n\n", "").replace("``", "")
        print("\n" * bool(number) + f"{name}\n{'=' * len(name)}\n{text}")

"""``chargen cells``: the recurrent cells and their equations."""

from __future__ import annotations

import inspect


def cells() -> None:
    """List the cells that --cell and --stack take, with equations, sources and parameters."""
    from chargen.cells import CELL_CLASSES

    for number, (name, cell) in enumerate(CELL_CLASSES.items()):
        text = (inspect.getdoc(cell) or "").replace("::\n\n", "").replace("``", "")
        print("\n" * bool(number) + f"{name}\n{'=' * len(name)}\n{text}")

"""Modern recurrent cells beside those of chargen: are they better in the same time?

``python -m benchmarks.modern_cells`` prints the tables of ``docs/cells.md``. Each cell has a step
form, which defines it, and a fast form over all steps, which must give the same results.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest.mock import patch

from benchmarks.modern_cells.base import ModernCell, ModernSpec
from benchmarks.modern_cells.heads import HeadLSTM
from benchmarks.modern_cells.mogrifier import MogrifierLSTM
from benchmarks.modern_cells.rg_lru import RGLRU
from benchmarks.modern_cells.slstm import SLSTM, HeadSLSTM
from chargen.model import spec
from chargen.model.cells import CELL_CLASSES

MODERN: tuple[type[ModernCell], ...] = (SLSTM, HeadSLSTM, HeadLSTM, MogrifierLSTM, RGLRU)


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Make the cells known to ``LanguageModel`` and ``ModelConfig`` inside of the context."""
    rows = {cell.kind: ModernSpec.of(cell) for cell in MODERN}
    classes = {cell.kind: cell for cell in MODERN}
    with (
        patch.dict(spec.CELLS, rows),
        patch.dict(spec.SPECS, rows),
        patch.dict(CELL_CLASSES, classes),
    ):
        yield


__all__ = ["MODERN", "ModernCell", "registered"]

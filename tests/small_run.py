"""The small trained run that many tests look at; made ahead for a machine without torch.

::

    python -m tests.small_run FOLDER        # FOLDER/prose.txt and FOLDER/checkpoints/small
    CHARGEN_TEST_RUNS=FOLDER/checkpoints pytest
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from chargen.config import ReadConfig
from chargen.data.dataset import read_text
from tests.processes import finish

TRAIN = (
    *("train", "prose.txt", "--name", "small", "--steps", "60", "--hidden", "48"),
    *("--batch-size", "8", "--bptt", "32", "--seed", "3", "--precision", "float32"),
)


def given() -> Path | None:
    """Return the checkpoints folder of a run that was made ahead, if the environment names one."""
    name = os.environ.get("CHARGEN_TEST_RUNS")
    return Path(name) if name else None


def prose() -> str:
    """Return 20,000 characters of English from Python's manual, or what the given run learned.

    The manual differs between the versions of Python.
    """
    if folder := given():
        return (folder.parent / "prose.txt").read_text(encoding="utf-8")
    pieces = read_text(ReadConfig(("builtin:pydoc",))).pieces()
    return "".join(p if isinstance(p, str) else p.decode() for p in pieces)[5000:25000]


def train(folder: Path) -> None:
    """Train the run on the prose.txt of a folder, warnings being errors."""
    command = [sys.executable, "-W", "error", "-m", "chargen", *TRAIN]
    finish(command, cwd=folder, stdin=subprocess.DEVNULL, text=True)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "prose.txt").write_text(prose(), encoding="utf-8")
    train(place)

"""Kills a pull at every operation on files, and looks at what is left each time.

    python -m tests.sharing.kills PUSHED OLD

For each moment a forked child pulls the folder PUSHED and is killed by SIGKILL before or after one
operation: into an empty folder, and with force over a copy of the run OLD. What is listed then must
be nothing, the whole old run or the whole new one. Prints a line a moment, ``ok`` or what is wrong.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chargen.sharing.pull import pull_model
from chargen.storage.checkpoint import MODEL, RESUME
from chargen.storage.files import runs_folder
from chargen.storage.runs import CARD, list_runs
from tests.processes import reap

PLACES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (os, ("fsync", "link", "unlink", "rmdir", "mkdir", "rename")),
    (Path, ("replace", "unlink", "mkdir", "chmod")),
)
SEEN = itertools.count(1)


def arm(moment: int, when: str) -> None:
    """Let this process die before or after the so-many-th operation."""
    for place, names in PLACES:
        for name in names:
            setattr(place, name, dying(getattr(place, name), moment, when))


def dying(operation: Callable[..., Any], moment: int, when: str) -> Callable[..., Any]:
    def operate(*args: Any, **options: Any) -> Any:
        own = next(SEEN)
        if (own, when) == (moment, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return operation(*args, **options)
        finally:
            if (own, when) == (moment, "after"):
                os.kill(os.getpid(), signal.SIGKILL)

    return operate


def killed(moment: int, when: str, source: Path, *, force: bool) -> bool:
    """Pull in a child that dies at a moment; tell whether it was killed."""
    child = os.fork()
    if child == 0:
        arm(moment, when)
        pull_model(str(source), "a", force=force)
        os._exit(0)
    return os.WIFSIGNALED(reap(child, 30))


def verdict(new: bytes, old: bytes | None) -> str:
    """Look at what a kill has left."""
    listed, run = list_runs(), runs_folder() / "a"
    found = (run / MODEL).read_bytes() if (run / MODEL).exists() else None
    if [path.name for path in listed] != (["a"] if found else []):
        return f"lists {listed}"
    if found == new:
        return "new  ok"
    if found != old:
        return "is neither the old model nor the new one"
    whole = found is None or (run / RESUME).exists()
    return "old  ok" if whole else "the old run has lost its resume file"


def moments(place: Path, source: Path, old: Path | None, when: str) -> Iterator[str]:
    """Kill at one moment after the other, until a pull is not killed; yield the verdicts."""
    going = True
    moment = 0
    while going:
        moment += 1
        runs = place / str(moment)
        os.environ["CHARGEN_CHECKPOINTS"] = str(runs)
        if old:
            shutil.copytree(old, runs / "a")
        going = killed(moment, when, source, force=old is not None)
        words = verdict((source / MODEL).read_bytes(), (old / MODEL).read_bytes() if old else None)
        if not going and not words.startswith("new"):
            words = "was not killed and is not new"
        pull_model(str(source), "a", force=True)  # what is left is no hindrance
        left = sorted(path.name for path in (runs / "a").iterdir())
        yield words if left == [".lock", CARD, MODEL] else f"leaves {left} after another pull"


def main() -> int:
    """Kill at every moment; return the number of moments that went wrong."""
    source, run = (Path(name).absolute() for name in sys.argv[1:])
    failed = 0
    for old in (None, run):
        for when in ("before", "after"):
            with tempfile.TemporaryDirectory() as folder:
                for moment, words in enumerate(moments(Path(folder), source, old, when), 1):
                    print(f"{'force' if old else 'empty'} {when:6} {moment:3}  {words}", flush=True)
                    failed += not words.endswith("ok")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())

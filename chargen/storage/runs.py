"""Runs by name: folders under ``checkpoints/`` that are created, locked, found and listed."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from chargen.errors import CheckpointError, ConfigError
from chargen.storage.checkpoint import (
    COPIES,
    METRICS,
    MODEL,
    PREVIOUS,
    RESUME,
    read_metrics,
    read_resume_header,
)
from chargen.storage.files import cannot_write, make_folder, runs_folder

FILES = (MODEL, RESUME, PREVIOUS)  # any of them makes a folder a run
LOCK = ".lock"
STDIN_COPY = "corpus.txt"  # copy of the text from standard input, with which the run can resume


def new_run_folder(name: str | None, sources: tuple[str, ...], *, force: bool) -> Path:
    """Create the folder of a new run; the default name is made of the corpus and the date.

    Raises:
        ConfigError: the name is not a plain file name.
        CheckpointError: the name is in use.
        StorageError: the folder cannot be created.
    """
    run = runs_folder() / (_free_name(sources) if name is None else name)
    if not re.fullmatch(r"[\w-][\w. -]*", run.name) or name not in (None, run.name):
        raise ConfigError(f"name is {name!r}; allowed: letters, digits, '-', '_', '.', spaces")
    if not force and any((run / file).exists() for file in (*FILES, METRICS)):
        raise CheckpointError(
            f"run {run.name!r} exists; go on with --resume --name {run.name}, "
            "or begin it again with --force"
        )
    make_folder(run)
    return run


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock the folder of a run for this process; remove it at the end if the run never started.

    Raises:
        CheckpointError: another process has locked it.
        StorageError: the folder cannot be written.
    """
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(
            f"run {run.name!r} is being trained by another process; wait until it ends, "
            "or give this one another --name"
        ) from None
    except OSError as error:
        raise cannot_write(run / LOCK, error) from None
    try:
        yield
    finally:
        lock.release()
        if {path.name for path in run.iterdir()} <= {LOCK, STDIN_COPY, COPIES}:
            clear_run(run)
            (run / LOCK).unlink(missing_ok=True)
            run.rmdir()


def clear_run(run: Path) -> None:
    """Remove the files of a run, so that it can start again."""
    for file in (*FILES, METRICS, STDIN_COPY, COPIES):
        (run / file).unlink(missing_ok=True)


def _free_name(sources: tuple[str, ...]) -> str:
    first = sources[0].removeprefix("builtin:")
    stem = "stdin" if first == "-" else Path(first).name.split(".")[0]
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-") or "run"
    base = f"{stem}-{datetime.date.today():%Y-%m-%d}"
    names = [base, *(f"{base}-{number}" for number in range(2, 10000))]
    return next(name for name in names if not (runs_folder() / name).exists())


def find_unfinished(name: str | None) -> Path:
    """Return the run with this name, or the newest unfinished one.

    Raises:
        CheckpointError: there is none.
    """
    if name is not None:
        run = runs_folder() / name
        if not run.is_dir():
            known = ", ".join(repr(path.name) for path in list_runs()[:5]) or "none yet"
            raise CheckpointError(f"no run {name!r} to resume (runs: {known})")
        return run
    for run in list_runs():
        with contextlib.suppress(CheckpointError):  # skip a run that cannot be resumed
            if not is_finished(run, *steps_of(run)):
                return run
    raise CheckpointError(
        f"no unfinished run in {str(runs_folder())!r}; `chargen runs` lists them, and "
        "--resume --name NAME --time 5m extends a finished one"
    )


def steps_of(run: Path) -> tuple[int, int]:
    """Return the number of steps that a run has taken and the number planned.

    Raises:
        CheckpointError: its resume files are missing or damaged.
    """
    header = read_resume_header(run)
    try:
        return int(header["step"]), int(header["plan"]["schedule"][-1][1])
    except (KeyError, IndexError, TypeError, ValueError):
        raise CheckpointError(f"the resume file of run {run.name!r} is damaged") from None


def is_finished(run: Path, step: int, steps: int) -> bool:
    """Tell whether a run has taken all its steps and written its last line."""
    return step >= steps and any(line["event"] == "end" for line in read_metrics(run))


def list_runs() -> list[Path]:
    """Return the folders of all runs, the one written to last first."""
    found = [path for name in FILES for path in runs_folder().glob(f"*/{name}")]
    return sorted({path.parent for path in found}, key=_last_written, reverse=True)


def find_model(name: str | None) -> Path:
    """Return the model file for the name of a run, its folder or the file; by default the newest.

    Raises:
        CheckpointError: there is no such model; the message lists the runs.
    """
    if name is None:
        return _newest_model()
    run = runs_folder() / name
    for path in (Path(name), Path(name) / MODEL, run / MODEL):
        if path.is_file():
            return path
    if run.is_dir():
        raise CheckpointError(
            f"run {name!r} has no model yet: it stopped before its first evaluation"
        )
    known = ", ".join(repr(path.name) for path in list_runs()[:5]) or "none yet"
    raise CheckpointError(
        f"no model {name!r}; give a run's name, its folder or a .safetensors file (runs: {known})"
    )


def model_name(path: Path) -> str:
    """Return the name of a model: the name of its run, or else of its file."""
    return path.absolute().parent.name if path.name == MODEL else path.stem


def _newest_model() -> Path:
    for run in list_runs():
        if (run / MODEL).is_file():
            return run / MODEL
    raise CheckpointError(
        f"no model in {str(runs_folder())!r}; make one: chargen train builtin:pydoc --time 1m"
    )


def _last_written(run: Path) -> int:
    present = [run / name for name in FILES if (run / name).exists()]
    return max(path.stat().st_mtime_ns for path in present)

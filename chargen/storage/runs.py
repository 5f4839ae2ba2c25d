"""Runs by name: folders under ``checkpoints/`` that are created, locked, found and listed."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from chargen.errors import CheckpointError, ConfigError, StorageError
from chargen.storage.bases import base_models
from chargen.storage.checkpoint import (
    COPIES,
    METRICS,
    MODEL,
    PREVIOUS,
    RESUME,
    read_metrics,
    read_resume_header,
)
from chargen.storage.files import (
    cannot_write,
    is_file,
    is_folder,
    make_folder,
    runs_folder,
    sync_folder,
    writing,
)

STDIN_COPY = "corpus.txt"  # copy of the text from standard input, with which the run can resume
CARD = "card.md"  # model card of a run that was pulled
FILES = (MODEL, RESUME, PREVIOUS)  # any of them makes a folder a run
OWN_FILES = (MODEL, RESUME, PREVIOUS, METRICS, STDIN_COPY, COPIES, CARD)  # all that a run has
LOCK = ".lock"
PUT_ASIDE = ".previous"  # folder in a run: what --force replaces, until there is a new model
PULLED = ".pull"  # folder in a run: what is being pulled
LEFTOVERS = (".previous.new", ".previous.gone", PULLED)  # folders of a process that was killed
LONGEST_NAME = 200  # bytes of the name of a run
LONGEST_STEM = 80  # of them, those that a run takes from the name of its corpus


def new_run_folder(name: str | None, sources: tuple[str, ...], *, force: bool) -> Path:
    """Create the folder of a new run; the default name is made of the corpus and the date.

    Raises:
        ConfigError: the name is not a plain file name.
        CheckpointError: the name is in use.
        StorageError: the folder cannot be created.
    """
    run = runs_folder() / (_free_name(sources) if name is None else name)
    if len(os.fsencode(run.name)) > LONGEST_NAME:
        raise ConfigError(f"name is {shortened(run.name)}; allowed: up to {LONGEST_NAME} bytes")
    _recover_all()
    if not re.fullmatch(r"[\w-][\w. -]*", run.name) or name not in (None, run.name):
        raise ConfigError(f"name is {name!r}; allowed: letters, digits, '-', '_', '.', spaces")
    if not force and any((run / file).exists() for file in (*FILES, METRICS)):
        raise CheckpointError(
            f"run {run.name!r} exists; go on with --resume --name {shlex.quote(run.name)}, "
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
    lock = _locked_now(run)
    try:
        recover(run)
        yield
    finally:
        try:
            with contextlib.suppress(FileNotFoundError):  # somebody has removed the folder
                recover(run)
                _remove_if_empty(run)
        finally:
            lock.release()


def _locked_now(run: Path) -> FileLock:
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
    return lock


def _remove_if_empty(run: Path) -> None:
    """Remove the folder of a run that never started."""
    if {path.name for path in run.iterdir()} <= {LOCK, STDIN_COPY, COPIES}:
        clear_run(run)
        (run / LOCK).unlink(missing_ok=True)
        run.rmdir()


def clear_run(run: Path) -> None:
    """Remove the files of a run, the model first."""
    for file in OWN_FILES:
        (run / file).unlink(missing_ok=True)


# -- the run that --force replaces --------------------------------------------------------


def put_aside(run: Path) -> None:
    """Put the files of a run aside, until the run that replaces it has a model.

    At every instant either the model in the folder is whole, or ``PUT_ASIDE`` holds all files of
    the old run; ``recover`` knows by the model which of the two is the run.

    Raises:
        StorageError: the folder cannot be written.
    """
    if not any((run / file).exists() for file in OWN_FILES):
        return
    try:
        made = run / LEFTOVERS[0]
        made.mkdir()
        _link_files(run, made)
        made.replace(run / PUT_ASIDE)
        sync_folder(run)
        clear_run(run)
    except OSError as error:
        raise cannot_write(run / PUT_ASIDE, error) from None


def recover(run: Path) -> None:
    """Bring back the run put aside if there is no new model, else remove it.

    Raises:
        StorageError: the folder cannot be written.
    """
    aside = run / PUT_ASIDE
    try:
        if aside.is_dir() and not (run / MODEL).exists():
            clear_run(run)
            _link_files(aside, run)
            sync_folder(run)
        if aside.is_dir():
            aside.replace(run / LEFTOVERS[1])
        for name in LEFTOVERS:
            shutil.rmtree(run / name, ignore_errors=True)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise cannot_write(run, error) from None


def _link_files(source: Path, target: Path) -> None:
    """Let the files of a run be in another folder too, the model last."""
    for file in reversed(OWN_FILES):
        if (source / file).exists():
            _link(source / file, target / file)
    sync_folder(target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        with writing(target) as file, source.open("rb") as old:
            shutil.copyfileobj(old, file)
        shutil.copystat(source, target)


def _recover_all() -> None:
    """Recover the runs that a killed process has left, unless another one trains them."""
    for aside in runs_folder().glob(f"*/{PUT_ASIDE}"):
        with contextlib.suppress(CheckpointError, StorageError, FileNotFoundError):
            lock = _locked_now(aside.parent)
            try:
                recover(aside.parent)
            finally:
                lock.release()


def shortened(name: str) -> str:
    """Return a name for a message, in quotes, cut in the middle if it is very long."""
    return repr(name if len(name) <= 80 else f"{name[:30]}...{name[-30:]}")


def _free_name(sources: tuple[str, ...]) -> str:
    first = sources[0].removeprefix("builtin:")
    stem = "stdin" if first == "-" else Path(first).name.split(".")[0]
    stem = os.fsencode(re.sub(r"[^\w-]+", "-", stem))[:LONGEST_STEM].decode(errors="ignore")
    stem = stem.strip("-") or "run"
    base = f"{stem}-{datetime.date.today():%Y-%m-%d}"
    names = [base, *(f"{base}-{number}" for number in range(2, 10000))]
    return next(name for name in names if not (runs_folder() / name).exists())


def find_unfinished(name: str | None) -> Path:
    """Return the run with this name, or the newest unfinished one.

    Raises:
        CheckpointError: there is none.
    """
    if name is not None:
        _recover_all()
        run = runs_folder() / name
        if not is_folder(run):
            raise CheckpointError(f"no run {shortened(name)} to resume (runs: {_known()})")
        if is_model_only(run):
            raise CheckpointError(
                f"run {name!r} is a model without files to resume from; go on from it with a text: "
                f"chargen train TEXT --base {shlex.quote(name)}"
            )
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


def is_model_only(run: Path) -> bool:
    """Tell whether a run is only a model, such as one that was pulled."""
    return [is_file(run / name) for name in FILES] == [True, False, False]


def list_runs() -> list[Path]:
    """Return the folders of all runs, the one written to last first."""
    _recover_all()
    found = [path for name in FILES for path in runs_folder().glob(f"*/{name}")]
    return sorted({path.parent for path in found}, key=_last_written, reverse=True)


def find_model(name: str | None) -> Path:
    """Return the model file for the name of a run, its folder, the file, or a base model.

    Without a name it is the newest run's.

    Raises:
        CheckpointError: there is no such model; the message lists the runs.
    """
    if name is None:
        return _newest_model()
    _recover_all()
    run = runs_folder() / name
    for path in (Path(name), Path(name) / MODEL, run / MODEL, run / PUT_ASIDE / MODEL):
        if is_file(path):
            return path
    if name in base_models():
        return base_models()[name]
    if name and is_folder(run):
        raise CheckpointError(
            f"run {name!r} has no model yet: it stopped before its first evaluation"
        )
    raise CheckpointError(
        f"no model {shortened(name)}; give a run's name, its folder or a .safetensors file "
        f"(runs: {_known()})"
    )


def _known() -> str:
    """Return the names of the newest runs."""
    return ", ".join(repr(path.name) for path in list_runs()[:5]) or "none yet"


def model_name(path: Path) -> str:
    """Return the name of a model: the name of its run, or else of its file."""
    if path.name != MODEL:
        return path.stem
    folder = path.absolute().parent
    return folder.parent.name if folder.name == PUT_ASIDE else folder.name


def _newest_model() -> Path:
    for run in list_runs():
        if (run / MODEL).is_file():
            return run / MODEL
    raise CheckpointError(
        f"no model in {str(runs_folder())!r}; take one that is there: -m english; "
        "or make one: chargen train builtin:pydoc --time 1m"
    )


def _last_written(run: Path) -> int:
    present = [run / name for name in FILES if (run / name).exists()]
    return max((path.stat().st_mtime_ns for path in present), default=0)

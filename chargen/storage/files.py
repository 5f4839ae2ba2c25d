"""Folders of runs and cache, small text files, atomic writes, and the texts of runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs

from chargen.errors import CorpusError, StorageError

LARGEST = 100_000_000  # bytes of a file that is read whole
NAME = 40  # characters of a name that begin the name of its temporary file


def runs_folder() -> Path:
    """Return the folder of runs: ``CHARGEN_CHECKPOINTS`` or ``./checkpoints``."""
    return Path(os.environ.get("CHARGEN_CHECKPOINTS") or "checkpoints")


def cache_folder() -> Path:
    """Return the cache folder: ``CHARGEN_CACHE`` or that of the platform."""
    return Path(os.environ.get("CHARGEN_CACHE") or platformdirs.user_cache_path("chargen"))


def is_file(path: Path) -> bool:
    """Tell whether a path is a file; a name that the system refuses is none."""
    return os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises for names that are too long)


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; a name that the system refuses is none."""
    return os.path.isdir(path)  # noqa: PTH112 (as above)


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises:
        StorageError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


def small_text(name: str, data: bytes) -> str:
    """Decode a UTF-8 text, with CRLF folded to LF.

    Raises:
        CorpusError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        words = f"{name!r} is not utf-8: wrong byte at offset {error.start}; save it as UTF-8"
        raise CorpusError(words) from None


def read_small_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        CorpusError: it is missing, not a file, too large or not UTF-8.
    """
    try:
        if path.exists() and not path.is_file():
            raise CorpusError(f"{str(path)!r} is not a file")
        if path.stat().st_size > LARGEST:
            raise CorpusError(f"{str(path)!r} has more than {LARGEST:,} bytes")
        return small_text(str(path), path.read_bytes())
    except OSError as error:
        raise CorpusError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ValueError:
        raise CorpusError(f"{str(path)!r} is not a valid file name") from None


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a place where a file cannot be written, before any work is done for it.

    Args:
        path: the file to write, or a device or a FIFO to write to.
        force: replace a file that exists.

    Raises:
        StorageError: there is no such folder, it is read-only, or the file exists.
    """
    place = Path(os.path.realpath(path))
    if is_folder(path) or not (is_folder(place.parent) or is_special(path)):
        raise StorageError(f"cannot write {str(path)!r}; name a file in a folder that exists")
    if is_file(path) and not force:
        raise StorageError(f"{str(path)!r} exists; name another file, or add --force")


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file atomically: write a temporary file, flush it to disk, rename it.

    Raises:
        StorageError: the folder is read-only, missing or full; the old file is untouched.
    """
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that atomically replaces another when it is complete.

    A symbolic link stays, and the file it names is replaced; the mode of a file is kept. A device
    or a FIFO is written to, never replaced.

    Raises:
        StorageError: the folder is read-only, missing or full; the old file is untouched.
    """
    try:
        # /dev/fd/63 of a >(...) is the link of a pipe, which has no path: it is not followed.
        with _direct(path) if is_special(path) else _aside(Path(os.path.realpath(path))) as file:
            yield file
    except OSError as error:
        raise cannot_write(path, error) from None
    except ValueError:  # of a null byte
        raise StorageError(f"{str(path)!r} is not a valid file name; give another") from None


def is_special(path: Path) -> bool:
    """Tell whether a path is a device, a FIFO, a socket or a folder."""
    return os.path.exists(path) and not is_file(path)  # noqa: PTH110 (as is_file)


@contextlib.contextmanager
def _direct(path: Path) -> Iterator[BinaryIO]:
    """Write to a device or a FIFO, when all that goes there is complete."""
    whole = io.BytesIO()
    yield whole
    flags = os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)  # a FIFO without a reader is refused
    with os.fdopen(os.open(path, flags), "wb") as file:
        if hasattr(os, "set_blocking"):
            os.set_blocking(file.fileno(), True)
        file.write(whole.getbuffer())


def append_line(path: Path, line: str) -> None:
    """Append a line to a file.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise cannot_write(path, error) from None


def sync_folder(folder: Path) -> None:
    """Flush the renames in a folder to disk, where the system can do so (Windows cannot)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[BinaryIO]:
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:NAME]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(aside).chmod(_mode(path))
        Path(aside).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(aside).unlink()
        raise
    sync_folder(path.parent)


def _mode(path: Path) -> int:
    """Return the mode of a file, or of a new one."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(path.stat().st_mode)
    return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cannot_write(path: Path, error: OSError) -> StorageError:
    """Return the error for a file that cannot be written: the reason, and what to do."""
    return StorageError(
        f"cannot write {str(path)!r}: {error.strerror or error}; make room or make it writable, "
        "or choose another place with CHARGEN_CHECKPOINTS or CHARGEN_CACHE"
    )


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- texts of runs ------------------------------------------------------------------------


def located(source: dict[str, Any], run: Path) -> dict[str, Any]:
    """Return where and how the text of a run is read again, wherever the run is now.

    What came by a pipe is in the folder of the run. Files are where they were, or were moved
    together with the run.

    Args:
        source: the corpus section of the resume file; ``kept`` holds what differs for the copy of
            a pipe, ``folder`` is where the run was begun.
        run: the folder of the run.
    """
    kept, names, folder = (source.get(name) for name in ("kept", "sources", "folder"))
    if isinstance(kept, dict):
        places = [str((run / Path(str(name)).name).absolute()) for name in kept.get("sources", ())]
        return {**source, **kept, "sources": places}
    if isinstance(names, list) and isinstance(folder, str):
        return {**source, "sources": [_moved_along(str(name), folder, run) for name in names]}
    return source


def _moved_along(name: str, folder: str, run: Path) -> str:
    """Return where a text is now: as it was, or at the same place beside a run that was moved."""
    with contextlib.suppress(ValueError):  # a NUL, another drive of Windows
        beside = os.path.normpath(run.absolute() / os.path.relpath(name, folder))
        if Path(name).is_absolute() and not Path(name).exists() and Path(beside).exists():
            return beside
    return name

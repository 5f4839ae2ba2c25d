"""Origins from which a model is pulled: a folder, a model file, a web address, the hub."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chargen.errors import ConfigError, DownloadError
from chargen.sharing import hub
from chargen.sharing.download import Stream, check_address, opened, reading, shown_address
from chargen.storage.checkpoint import MODEL
from chargen.storage.files import is_file, is_folder
from chargen.storage.runs import LONGEST_STEM, model_name, shortened

README, SUMS = "README.md", "SHA256SUMS"  # beside a model that was pushed
SUFFIX = Path(MODEL).suffix
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Origin:
    """Somewhere that a model lies.

    Attributes:
        shown: what it is called in messages.
        name: of the run that it becomes.
        open: opens one of its files.
        single: it is the model file itself, with nothing beside it.
    """

    shown: str
    name: str
    open: Callable[[str], AbstractContextManager[Stream]]
    single: bool = False


def find_origin(source: str, *, pinned: bool = False) -> Origin:
    """Return the origin that a user names.

    Args:
        source: a folder, a model file, an address of one of them, or ``hf:OWNER/NAME[@REVISION]``.
        pinned: the checksum is known, so that ``http://`` to other computers is allowed.

    Raises:
        ConfigError: it is no such name.
        DownloadError: it is not there.
    """
    if hub.is_repository(source):
        return _on_hub(source)
    if SCHEME.match(source):
        return _on_web(check_address(source, pinned=pinned), pinned=pinned)
    return _on_disk(source)


def _on_hub(source: str) -> Origin:
    repository = hub.parse(source)
    address_of, headers = hub.find(repository)

    def open_file(name: str) -> AbstractContextManager[Stream]:
        return opened(check_address(address_of(name)), headers)

    return Origin(source, run_name(repository.name), open_file)


def _on_web(address: str, *, pinned: bool) -> Origin:
    parts = urlsplit(address)
    shown, path = shown_address(address), Path(unquote(parts.path))
    if path.suffix == SUFFIX:
        name = path.parent.name if path.name == MODEL else path.stem
        return Origin(shown, run_name(name), lambda _: opened(address, pinned=pinned), single=True)
    if parts.query:
        raise ConfigError(f"{shown!r} with a query is not a folder; name its {MODEL}")
    folder = address.rstrip("/")
    return Origin(
        shown, run_name(path.name), lambda name: opened(f"{folder}/{name}", pinned=pinned)
    )


def _on_disk(source: str) -> Origin:
    path = Path(source)
    if source and is_folder(path):
        name = run_name(path.absolute().resolve().name)
        return Origin(source, name, lambda file: _opened_file(path / file))
    if is_file(path):
        return Origin(source, run_name(model_name(path)), lambda _: _opened_file(path), True)
    raise DownloadError(
        f"no model at {shortened(source)}; give a folder that `chargen push` wrote, a model "
        "file, an https:// address or hf:OWNER/NAME"
    )


@contextlib.contextmanager
def _opened_file(path: Path) -> Iterator[Stream]:
    """Open a file.

    Raises:
        FileNotFoundError: there is none.
        DownloadError: it cannot be read.
    """
    if not is_file(path):
        raise FileNotFoundError("there is no such file")
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise DownloadError(error.strerror or str(error)) from None
    with file:
        yield Stream(reading(file.read), os.fstat(file.fileno()).st_size)


def run_name(name: str) -> str:
    """Return the name of a run made of one that somebody else has chosen; it may be empty."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return os.fsencode(plain)[:LONGEST_STEM].decode(errors="ignore")

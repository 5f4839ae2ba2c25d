"""Catalogue of published texts, with verified and resumable downloads."""

from __future__ import annotations

import hashlib
import http.client
import tomllib
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from chargen.errors import CorpusError, DownloadError
from chargen.storage.files import make_folder, writing

BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without data
CORPORA = Path("corpora")

Progress = Callable[[int], None]
"""Called with the number of bytes downloaded so far."""


@dataclass(frozen=True)
class CatalogueEntry:
    """A published text.

    Attributes:
        name: name of the text in commands.
        about: a description.
        url: address of the file.
        bytes: size after unpacking.
        licence: licence of the text.
        sha256: checksum after unpacking; if it is empty, ``md5`` counts.
        md5: checksum that the author published.
        member: name of the file in the archive, if the address is that of a zip archive.
    """

    name: str
    about: str
    url: str
    bytes: int
    licence: str
    sha256: str = ""
    md5: str = ""
    member: str = ""

    @property
    def path(self) -> Path:
        """The local file."""
        return CORPORA / f"{self.name}.txt"


def catalogue() -> dict[str, CatalogueEntry]:
    """Return all entries by name."""
    data = resources.files("chargen.data").joinpath("catalogue.toml").read_text("utf-8")
    return {name: CatalogueEntry(name, **fields) for name, fields in tomllib.loads(data).items()}


def fetch(entry: CatalogueEntry, progress: Progress) -> Path:
    """Download a text if it is not here yet; an interrupted download is resumed.

    Raises:
        DownloadError: the server cannot be reached, stops early, or sends another file.
        StorageError: the file cannot be written.
    """
    if _is_here(entry):
        return entry.path
    make_folder(CORPORA)
    part = CORPORA / f".{entry.name}.part"
    _download(entry, part, progress)
    try:
        with writing(entry.path) as file:
            digest = _digest(entry)
            for block in _unpacked(entry, part):
                file.write(block)
                digest.update(block)
            if digest.hexdigest() != (entry.sha256 or entry.md5):
                raise _wrong(entry)
    finally:
        part.unlink(missing_ok=True)
    return entry.path


def _download(entry: CatalogueEntry, part: Path, progress: Progress) -> None:
    """Download the rest of a partial file."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(entry.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            continued = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            have = have if continued else 0
            expected = have + int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if continued else "wb") as file:
                while block := answer.read(BLOCK):
                    have += len(block)
                    if not entry.member and have > entry.bytes:
                        raise _wrong(entry)
                    file.write(block)
                    progress(have)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # the partial file is complete
        raise _failed(entry, f"the server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _failed(entry, str(getattr(error.reason, "strerror", error.reason))) from None
    except (OSError, http.client.HTTPException) as error:
        raise _failed(entry, str(error) or type(error).__name__) from None
    if expected and have < expected:
        raise _failed(entry, f"it stopped after {have:,} of {expected:,} bytes")


def _unpacked(entry: CatalogueEntry, part: Path) -> Iterator[bytes]:
    """Yield the bytes of the text, and no more than it should have."""
    count = 0
    for block in _blocks(entry, part):
        count += len(block)
        if count > entry.bytes:
            break
        yield block
    if count != entry.bytes:
        raise _wrong(entry)


def _blocks(entry: CatalogueEntry, part: Path) -> Iterable[bytes]:
    if not entry.member:
        with part.open("rb") as file:
            yield from iter(lambda: file.read(BLOCK), b"")
        return
    try:
        with zipfile.ZipFile(part) as archive, archive.open(entry.member) as file:
            yield from iter(lambda: file.read(BLOCK), b"")
    except (zipfile.BadZipFile, KeyError, zlib.error, EOFError):
        raise _wrong(entry) from None


def _digest(entry: CatalogueEntry) -> Any:
    return hashlib.new("sha256" if entry.sha256 else "md5", usedforsecurity=False)


def _is_here(entry: CatalogueEntry) -> bool:
    """Tell whether the local file exists and has the right checksum."""
    try:
        with entry.path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: _digest(entry))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CorpusError(
            f"cannot read {str(entry.path)!r}: {error.strerror}; make it readable or remove it"
        ) from None
    return bool(digest.hexdigest() == (entry.sha256 or entry.md5))


def _wrong(entry: CatalogueEntry) -> DownloadError:
    return DownloadError(
        f"{entry.url} is not the published {entry.name}: its size or checksum differs; "
        "it was deleted"
    )


def _failed(entry: CatalogueEntry, reason: str) -> DownloadError:
    return DownloadError(
        f"cannot fetch {entry.name} from {entry.url}: {reason}; "
        f"resume with: chargen corpus fetch {entry.name}"
    )

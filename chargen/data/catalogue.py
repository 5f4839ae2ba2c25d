"""Texts that others published: where they are, and how they come here whole or not at all."""

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

from chargen.errors import DownloadError
from chargen.storage.files import make_folder, writing

BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte
CORPORA = Path("corpora")

Progress = Callable[[int], None]
"""Told the bytes that are here so far."""


@dataclass(frozen=True)
class Entry:
    """A published text.

    Attributes:
        name: how users call it.
        about: what it is.
        url: where it was published.
        bytes: its size, unpacked.
        licence: under which it may be used.
        sha256: its checksum, unpacked, or else
        md5: the checksum that its author states.
        member: its name in the archive, if the address is that of a zip archive.
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
        """Where it is kept."""
        return CORPORA / f"{self.name}.txt"


def catalogue() -> dict[str, Entry]:
    """Return all entries by their names."""
    data = resources.files("chargen.data").joinpath("catalogue.toml").read_text("utf-8")
    return {name: Entry(name, **fields) for name, fields in tomllib.loads(data).items()}


def fetch(entry: Entry, progress: Progress) -> Path:
    """Bring a text here, if it is not here yet; a download that broke off is continued.

    Raises:
        DownloadError: the server cannot be reached, breaks off, or sends another file.
        StorageError: it cannot be written.
    """
    if _is_right(entry):
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


def _download(entry: Entry, part: Path, progress: Progress) -> None:
    """Fill the file of what has come so far, from where it ends."""
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
            return  # all of it is here
        raise _failed(entry, f"the server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _failed(entry, str(getattr(error.reason, "strerror", error.reason))) from None
    except (OSError, http.client.HTTPException) as error:
        raise _failed(entry, str(error) or type(error).__name__) from None
    if expected and have < expected:
        raise _failed(entry, f"it broke off after {have:,} of {expected:,} bytes")


def _unpacked(entry: Entry, part: Path) -> Iterator[bytes]:
    """Yield the text's bytes, and not one more than it should have."""
    count = 0
    for block in _blocks(entry, part):
        count += len(block)
        if count > entry.bytes:
            break
        yield block
    if count != entry.bytes:
        raise _wrong(entry)


def _blocks(entry: Entry, part: Path) -> Iterable[bytes]:
    if not entry.member:
        with part.open("rb") as file:
            yield from iter(lambda: file.read(BLOCK), b"")
        return
    try:
        with zipfile.ZipFile(part) as archive, archive.open(entry.member) as file:
            yield from iter(lambda: file.read(BLOCK), b"")
    except (zipfile.BadZipFile, KeyError, zlib.error, EOFError):
        raise _wrong(entry) from None


def _digest(entry: Entry) -> Any:
    return hashlib.new("sha256" if entry.sha256 else "md5", usedforsecurity=False)


def _is_right(entry: Entry) -> bool:
    """Tell whether the text is here already."""
    if not entry.path.is_file():
        return False
    with entry.path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: _digest(entry))
    return bool(digest.hexdigest() == (entry.sha256 or entry.md5))


def _wrong(entry: Entry) -> DownloadError:
    return DownloadError(
        f"{entry.url} is not the {entry.name} that was published: size or checksum differ; "
        "it was not kept"
    )


def _failed(entry: Entry, reason: str) -> DownloadError:
    return DownloadError(
        f"cannot fetch {entry.name} from {entry.url}: {reason}; "
        f"go on with: chargen corpus fetch {entry.name}"
    )

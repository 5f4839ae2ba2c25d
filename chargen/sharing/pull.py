"""Pulling a model: files from an origin that is not trusted become a run, or nothing does.

They are downloaded into a folder inside that of the run, and verified there: by the checksums
beside them, then by reading the whole model. One rename makes it the run's model.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from chargen.errors import CheckpointError, ConfigError, DownloadError
from chargen.model.saved import read_model
from chargen.sharing.download import Progress, limited
from chargen.sharing.origins import README, SUMS, Origin, find_origin
from chargen.storage.checkpoint import METRICS, MODEL
from chargen.storage.files import (
    cannot_write,
    is_file,
    make_folder,
    runs_folder,
    sync_folder,
    writing,
)
from chargen.storage.runs import CARD, FILES, PULLED, locked, new_run_folder, put_aside, shortened

LARGEST = 1 << 31  # bytes of a model file
LARGEST_CARD, LARGEST_SUMS = 1 << 20, 1 << 16
LENGTH = 8  # bytes of a safetensors file before its header, which is JSON
DIGITS = re.compile(r"[0-9a-f]{64}")


def pull_model(
    source: str,
    name: str | None = None,
    *,
    force: bool = False,
    sha256: str | None = None,
    progress: Progress = lambda have, size: None,
) -> Path:
    """Pull a model; return the model file of the run that it has become.

    Args:
        source: a folder that ``push_model`` wrote, its ``https://`` address, a model file or its
            address, or ``hf:OWNER/NAME[@REVISION]``.
        name: of the run; None takes that of the source.
        force: replace a run of this name.
        sha256: checksum that the model file must have.
        progress: is told how far the model file is.

    Raises:
        ConfigError: the source, the name or the checksum is not one.
        CheckpointError: the name is in use.
        DownloadError: it cannot be had whole, or is no model.
        StorageError: it cannot be written.
    """
    wanted = _check_sha256(sha256)
    origin = find_origin(source, pinned=wanted is not None)
    name = _check_name(origin.name if name is None else name, origin, force=force)
    sums = {} if origin.single else _read_sums(origin)
    there = runs_folder().exists()
    try:
        run = new_run_folder(name, (), force=force)
        with locked(run):
            make_folder(run / PULLED)
            _download(origin, run / PULLED, sums, wanted, progress)
            _take(run, force=force)
    finally:
        with contextlib.suppress(OSError):
            if not there:
                runs_folder().rmdir()  # it stays when a run is in it
    return run / MODEL


def _check_sha256(sha256: str | None) -> str | None:
    if sha256 is not None and not DIGITS.fullmatch(sha256.lower()):
        raise ConfigError(f"sha256 is {shortened(sha256)}; allowed: 64 hexadecimal digits")
    return sha256 and sha256.lower()


def _check_name(name: str, origin: Origin, *, force: bool) -> str:
    if not name:
        raise ConfigError(f"{origin.shown!r} gives the run no name; give it one with --name")
    if not force and any(is_file(runs_folder() / name / file) for file in (*FILES, METRICS)):
        raise CheckpointError(
            f"run {shortened(name)} exists; give another --name, or replace it with --force"
        )
    return name


# -- download -----------------------------------------------------------------------------


def _read_sums(origin: Origin) -> dict[str, str]:
    """Return the checksums of a pushed model by the names of its files; others are left out."""
    with _told(origin, SUMS, "is it what `chargen push` wrote?"), origin.open(SUMS) as stream:
        data = b"".join(limited(stream, LARGEST_SUMS, lambda have, size: None))
    lines = re.findall(r"^([0-9a-f]{64}) [ *](\S+)\s*$", data.decode(errors="replace"), re.M)
    sums = {name: digest for digest, name in lines if name in (MODEL, README)}
    if MODEL not in sums:
        raise DownloadError(f"cannot pull {origin.shown!r}: its {SUMS} does not name {MODEL}")
    return sums


def _download(
    origin: Origin, folder: Path, sums: dict[str, str], wanted: str | None, progress: Progress
) -> None:
    """Download a model and its card, and verify them."""
    if README in sums:
        digest = _fetch(origin, README, folder / CARD, LARGEST_CARD)
        _compare(origin, README, digest, sums[README])
    digest = _fetch(origin, MODEL, folder / MODEL, LARGEST, progress)
    for expected in (sums.get(MODEL), wanted):
        _compare(origin, MODEL, digest, expected or digest)
    _check_model(origin, folder / MODEL)


def _fetch(
    origin: Origin, name: str, path: Path, limit: int, progress: Progress = lambda have, size: None
) -> str:
    """Download a file; return its sha256."""
    digest = hashlib.sha256()
    with _told(origin, name), origin.open(name) as stream, writing(path) as file:
        blocks: Iterable[bytes] = limited(stream, limit, progress)
        for block in _begun_well(blocks) if name == MODEL else blocks:
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def _begun_well(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks of a model file; refuse another one before all of it has come."""
    head = b""
    for block in blocks:
        if len(head) <= LENGTH:
            head = (head + block)[: LENGTH + 1]
            if len(head) > LENGTH and head[LENGTH:] != b"{":
                page = head.lstrip().startswith(b"<")
                raise DownloadError(f"it is {'a web page, ' * page}not a model file")
        yield block


def _compare(origin: Origin, name: str, found: str, expected: str) -> None:
    if found != expected:
        raise DownloadError(
            f"cannot pull {origin.shown!r}: {name} has sha256 {found}, not {expected}; it was "
            "changed, or pushed in part: pull again, or ask who pushed it"
        )


def _check_model(origin: Origin, path: Path) -> None:
    """Read all of a model file, as the commands will."""
    try:
        saved = read_model(path)
        saved.weights()
        if saved.mixture:
            saved.counts()
    except CheckpointError as error:
        words = str(error).replace(repr(str(path)), MODEL)
        raise DownloadError(f"cannot pull {origin.shown!r}: {words}") from None


@contextlib.contextmanager
def _told(origin: Origin, name: str, hint: str = "") -> Iterator[None]:
    """Say which file of which origin cannot be had."""
    try:
        yield
    except (DownloadError, FileNotFoundError) as error:
        missing = isinstance(error, FileNotFoundError)
        more = f"; {hint}" if hint and missing else ""
        raise DownloadError(f"cannot pull {origin.shown!r}: {name}: {error}{more}") from None


# -- the run ------------------------------------------------------------------------------


def _take(run: Path, *, force: bool) -> None:
    """Make what was downloaded the model of the run; its old files go when that is there."""
    if force:
        put_aside(run)
    try:
        if (run / PULLED / CARD).exists():
            (run / PULLED / CARD).replace(run / CARD)
        (run / PULLED / MODEL).replace(run / MODEL)
    except OSError as error:
        raise cannot_write(run / MODEL, error) from None
    sync_folder(run)

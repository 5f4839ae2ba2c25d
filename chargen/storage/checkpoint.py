"""Checkpoints: self-contained safetensors files for models and for runs to resume.

A file holds tensors and one metadata key, ``chargen``, with canonical JSON. Its field ``checksum``
is the sha256 of everything else, so any flipped bit is detected. No pickle is read or written.

A run is a folder (see ``runs``) with these files: ``model.safetensors``, the best model, complete
in itself; ``resume.safetensors`` and ``resume.previous.safetensors``, the last two states to resume
from; and ``metrics.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from chargen.errors import CheckpointError
from chargen.storage.files import cannot_write, is_file, located, sync_folder, write_whole

FORMAT = 4
READ = (2, FORMAT)  # 1 and 3 were of versions between releases
KEY = "chargen"
SIGNED = ("F32", "F16", "I8")  # types of weights; n-gram counts are unsigned, or float16
MODEL = "model.safetensors"
RESUME = "resume.safetensors"
PREVIOUS = "resume.previous.safetensors"
METRICS = "metrics.jsonl"
COPIES = "copies.safetensors"  # index of the training text (--copy-index)

Tensors = dict[str, NDArray[Any]]


# -- files with a header ------------------------------------------------------------------


def write_tensors(path: Path, tensors: Tensors, header: dict[str, Any]) -> None:
    """Write tensors and a JSON header to one file, atomically."""
    header = {**header, "format": FORMAT}
    header["checksum"] = _checksum(header, tensors)
    data = safetensors.numpy.save(tensors, metadata={KEY: _canonical(header)})
    write_whole(path, data)


def read_tensors(path: Path, kind: str) -> tuple[Tensors, dict[str, Any]]:
    """Read a file that ``write_tensors`` wrote, and verify its checksum.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, or not of this kind.
    """
    header = read_header(path, kind)
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if header.get("checksum") != _checksum(header, tensors):
        raise damaged(path, "is damaged: its checksum does not match")
    return tensors, header


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """Read only the JSON header of a file that ``write_tensors`` wrote."""
    with _open(path) as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise CheckpointError(f"{str(path)!r} was written by another program, not by chargen train")
    try:
        header = json.loads(text)
        found, version = header["kind"], header["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged(path, "is damaged: its header cannot be read") from None
    if version not in READ:
        raise _other_format(path, version)
    if found != kind:
        raise CheckpointError(f"{str(path)!r} is a {found} file, not a {kind} file")
    return dict(header)


def _other_format(path: Path, version: object) -> CheckpointError:
    """Return the error for a file of an older or a newer chargen."""
    has = f"{str(path)!r} has format {version!r}, this chargen reads format {FORMAT}"
    if isinstance(version, int) and version < FORMAT:
        return CheckpointError(f"{has}: it was written by an older chargen; train it again")
    return CheckpointError(f"{has}: it was written by a newer chargen; upgrade chargen")


def _open(path: Path) -> Any:
    if not is_file(path):
        raise CheckpointError(f"{str(path)!r} does not exist; `chargen runs` lists the models")
    try:
        return safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError:
        raise damaged(path, "is truncated or not a safetensors file") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from None


def damaged(path: Path, how: str) -> CheckpointError:
    """Return the error for a damaged file, with the command that restores the model of a run."""
    again = ""
    if path.name == MODEL and any((path.parent / name).exists() for name in (RESUME, PREVIOUS)):
        run = shlex.quote(path.absolute().parent.name)
        again = f"; make it again: chargen train --resume --name {run} --time 10s"
    return CheckpointError(f"{str(path)!r} {how}{again}")


def _canonical(header: dict[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, separators=(",", ":"))


def _checksum(header: dict[str, Any], tensors: Tensors) -> str:
    rest = {key: value for key, value in header.items() if key != "checksum"}
    digest = hashlib.sha256(_canonical(rest).encode())
    for name in sorted(tensors):
        digest.update(f"\n{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of signed numbers in a file, by name."""
    with _open(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        signed = ((n, part) for n, part in slices.items() if part.get_dtype() in SIGNED)
        return {name: tuple(part.get_shape()) for name, part in signed}


# -- runs ---------------------------------------------------------------------------------


class Saved(NamedTuple):
    """The state from which a run resumes.

    Attributes:
        tensors: weights, averaged weights, optimizer moments, recurrent states.
        header: settings and progress of the run.
        passed_over: why the newest file could not be read, if this is the one before it.
    """

    tensors: Tensors
    header: dict[str, Any]
    passed_over: str | None = None


def save_resume(run: Path, tensors: Tensors, header: dict[str, Any]) -> None:
    """Write the resume file of a run; the one before it becomes ``resume.previous``."""
    newer = run / f".{RESUME}.new"
    write_tensors(newer, tensors, {**header, "kind": "resume"})
    try:
        if (run / RESUME).exists():
            (run / RESUME).replace(run / PREVIOUS)
        newer.replace(run / RESUME)
    except OSError as error:
        raise cannot_write(run / RESUME, error) from None
    sync_folder(run)


def load_resume(run: Path) -> Saved:
    """Read the newest undamaged resume file of a run: the last one, or the one before it.

    Raises:
        CheckpointError: there is none, or all of them are damaged.
    """
    found = [path for path in (run / RESUME, run / PREVIOUS) if path.exists()]
    if not found:
        raise CheckpointError(
            f"run {run.name!r} has nothing to resume; start it with chargen train"
        )
    damage: list[str] = []
    for path in found:
        try:
            return Saved(*read_tensors(path, "resume"), "; ".join(damage) or None)
        except CheckpointError as error:
            damage.append(str(error))
    raise CheckpointError(
        f"run {run.name!r} cannot resume: {'; '.join(damage)}; "
        f"begin another from its model: chargen train CORPUS --base {run.name}"
    )


def read_resume_header(run: Path) -> dict[str, Any]:
    """Read the header of the newest resume file of a run, or of the one before if it is damaged.

    Its texts are named by where they are now.
    """
    try:
        header = read_header(run / RESUME, "resume")
    except CheckpointError:
        header = read_header(run / PREVIOUS, "resume")
    source = header.get("source")
    return {**header, "source": located(source, run)} if isinstance(source, dict) else header


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of the ``metrics.jsonl`` of a run; damaged lines are left out."""
    path = run / METRICS
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [event for event in map(_event, lines) if event]


def _event(line: bytes) -> dict[str, Any] | None:
    """Return a line of metrics, or None if it is incomplete or damaged."""
    try:
        event = json.loads(line)
        whole = event["event"] == "end" or isinstance(event["step"], int)
        return event if whole else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None

"""Models and runs on disk: safetensors files that carry everything they need.

A file holds tensors and, under the one metadata key ``chargen``, canonical JSON. Its field
``checksum`` is the sha256 of all the rest, so that a flipped bit anywhere is noticed. No
pickle is read or written.

A run is a folder (see ``runs``) with ``model.safetensors`` (the best model, complete in
itself), ``resume.safetensors`` and ``resume.previous.safetensors`` (all that continues the
run, last and one before) and ``metrics.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from chargen.config import ModelConfig
from chargen.errors import ChargenError, CheckpointError
from chargen.storage.files import sync_folder, write_whole
from chargen.tokenizers import Tokenizer, tokenizer_from_json

FORMAT = 1
KEY = "chargen"
MODEL = "model.safetensors"
RESUME = "resume.safetensors"
PREVIOUS = "resume.previous.safetensors"
METRICS = "metrics.jsonl"
COPIES = "copies.safetensors"  # the index of the training text, if it was asked for

# Each cell: blocks of H rows in its weights (gates and candidate), and the weights it has.
_INPUT = ("weight_ih_l0", "bias_ih_l0")
_PLAIN = (*_INPUT, "weight_hh_l0")
_TORCH = (*_PLAIN, "bias_hh_l0")
_NORMED = (*_TORCH, "gain_ih_l0", "gain_hh_l0")
WEIGHTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "rnn": (1, _TORCH),
    "rnn-relu": (1, _TORCH),
    "rnn-norm": (1, (*_PLAIN, "gain_ih_l0")),
    "lstm": (4, _TORCH),
    "lstm-peephole": (4, (*_PLAIN, "peephole")),
    "lstm-coupled": (3, _PLAIN),
    "lstm-norm": (4, (*_NORMED, "gain_c", "bias_c")),
    "gru": (3, _TORCH),
    "gru-before": (3, _PLAIN),
    "gru-norm": (3, _NORMED),
    "mingru": (2, _INPUT),
    "minlstm": (3, _INPUT),
}

Tensors = dict[str, NDArray[Any]]


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every weight of a model, as torch.nn names them."""
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (config.vocab_size, config.embedding),
        "head.weight": (config.vocab_size, config.head_inputs),
        "head.bias": (config.vocab_size,),
    }
    inputs = config.embedding
    for number, layer in enumerate(config.layers):
        own = cell_shapes(layer.kind, inputs, layer.hidden)
        shapes |= {f"layers.{number}.{name}": shape for name, shape in own.items()}
        inputs = layer.hidden
    return shapes


def count_weights(config: ModelConfig) -> int:
    """Return the number of weights of a model."""
    return sum(math.prod(shape) for shape in weight_shapes(config).values())


def cell_shapes(kind: str, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every weight of a cell, as torch.nn names them."""
    blocks, names = WEIGHTS[kind]
    rows = blocks * hidden
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih_l0": (rows, inputs),
        "weight_hh_l0": (rows, hidden),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
        "gain_ih_l0": (rows,),
        "gain_hh_l0": (rows,),
        "gain_c": (hidden,),
        "bias_c": (hidden,),
        "peephole": (3, hidden),
    }
    return {name: shapes[name] for name in names}


@dataclass(frozen=True)
class ModelHeader:
    """What a model file says about itself: read without reading the weights."""

    config: ModelConfig
    tokenizer: Tokenizer
    training: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the file's metadata."""
        return {
            "kind": "model",
            "model": self.config.to_json(),
            "tokenizer": self.tokenizer.to_json(),
            "training": self.training,
        }


def section(training: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one group of what a file says of its training; empty if it says nothing."""
    found = training.get(name)
    return found if isinstance(found, dict) else {}


# -- any file of ours ---------------------------------------------------------------------


def write_tensors(path: Path, tensors: Tensors, header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as one whole file."""
    header = {**header, "format": FORMAT}
    header["checksum"] = _checksum(header, tensors)
    data = safetensors.numpy.save(tensors, metadata={KEY: _canonical(header)})
    write_whole(path, data)


def read_tensors(path: Path, kind: str) -> tuple[Tensors, dict[str, Any]]:
    """Read a file that ``write_tensors`` wrote, and check it bit for bit.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, or not of this kind.
    """
    header = read_header(path, kind)
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if header.get("checksum") != _checksum(header, tensors):
        raise _damaged(path, "is damaged: its checksum does not match")
    return tensors, header


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """Read the JSON header of a file of ours, and nothing else."""
    with _open(path) as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise CheckpointError(f"{str(path)!r} was written by another program, not by chargen train")
    try:
        header = json.loads(text)
        found, version = header["kind"], header["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged(path, "is damaged: its header cannot be read") from None
    if version != FORMAT:
        raise CheckpointError(
            f"{str(path)!r} has format {version!r}; this chargen reads format {FORMAT}: upgrade it"
        )
    if found != kind:
        raise CheckpointError(f"{str(path)!r} is a {found} file, not a {kind} file")
    return dict(header)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{str(path)!r} does not exist; `chargen runs` lists the models")
    try:
        return safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError:
        raise _damaged(path, "is truncated or not a safetensors file") from None
    except OSError as error:
        message = f"cannot read {str(path)!r}: {error.strerror or error}"
    raise CheckpointError(message)


def _damaged(path: Path, how: str) -> CheckpointError:
    """Return the error that names a damaged file and, for a run's model, what makes it again."""
    again = ""
    if path.name == MODEL and any((path.parent / name).exists() for name in (RESUME, PREVIOUS)):
        run = path.absolute().parent.name
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


# -- models -------------------------------------------------------------------------------


def save_model(path: Path, weights: Tensors, header: ModelHeader) -> None:
    """Write a complete model file."""
    write_tensors(path, weights, header.to_json())


def read_model_header(path: Path) -> ModelHeader:
    """Read what a model is, and check that its tensors have the shapes it claims.

    Raises:
        CheckpointError: the file is missing, damaged, foreign, or does not fit itself.
    """
    data = read_header(path, "model")
    try:
        config = ModelConfig.from_json(data["model"])
        tokenizer = tokenizer_from_json(data["tokenizer"])
        header = ModelHeader(config, tokenizer, dict(data["training"]))
    except (ChargenError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"is damaged: its header says {error}") from None
    if config.vocab_size != tokenizer.vocab_size or _shapes(path) != weight_shapes(config):
        raise _damaged(path, "is damaged: its weights do not fit its description")
    return header


def load_weights(path: Path) -> Tensors:
    """Read the float32 weights of a model file by name, checked bit for bit."""
    return read_tensors(path, "model")[0]


def is_whole(path: Path) -> bool:
    """Tell whether a model file is there and opens."""
    try:
        load_weights(path)
    except CheckpointError:
        return False
    return True


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, which names what is made from it in the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with _open(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        if any(part.get_dtype() != "F32" for part in slices.values()):
            return {}
        return {name: tuple(part.get_shape()) for name, part in slices.items()}


# -- runs ---------------------------------------------------------------------------------


class Saved(NamedTuple):
    """All that continues a run.

    Attributes:
        tensors: weights, averages, moments, states.
        header: what they belong to, and what was done.
        passed_over: why the newest file could not be read and this is the one before.
    """

    tensors: Tensors
    header: dict[str, Any]
    passed_over: str | None = None


def save_resume(run: Path, tensors: Tensors, header: dict[str, Any]) -> None:
    """Write what continues the run, and keep the file before it as ``resume.previous``."""
    newer = run / f".{RESUME}.new"
    write_tensors(newer, tensors, {**header, "kind": "resume"})
    if (run / RESUME).exists():
        (run / RESUME).replace(run / PREVIOUS)
    newer.replace(run / RESUME)
    sync_folder(run)


def load_resume(run: Path) -> Saved:
    """Read the newest whole resume file of a run: the last one, or the one before it.

    Raises:
        CheckpointError: there is none, or all there are are damaged.
    """
    candidates = [run / RESUME, run / PREVIOUS]
    found = [path for path in candidates if path.exists()]
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
        f"begin another from its model: chargen train CORPUS --init-from {run.name}"
    )


def read_resume_header(run: Path) -> dict[str, Any]:
    """Read the header of the newest resume file of a run whose header can be read."""
    try:
        return read_header(run / RESUME, "resume")
    except CheckpointError:
        return read_header(run / PREVIOUS, "resume")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's ``metrics.jsonl``; what cannot be read is left out."""
    path = run / METRICS
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [event for event in map(_event, lines) if event]


def _event(line: bytes) -> dict[str, Any] | None:
    """Return a line of metrics, or None if it is torn or damaged."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    whole = event.get("event") == "end" or isinstance(event.get("step"), int)
    return event if whole and "event" in event else None

"""HTML export: a model, an engine in JavaScript and a page for a writer, in one file.

The file opens from disk and never uses the network. Matrices are whole numbers with one factor for
each row, as in ``model.int8``: in int8 where the model file has them so, which changes nothing, and
otherwise with as many levels as ``LIMIT`` allows. Their bytes are compressed by zlib and written
with 91 printable characters, 13 bits in two of them (base64 has 12), so that the file is plain
ASCII and survives what a text file survives.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import zlib
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chargen.errors import ConfigError
from chargen.model.int8 import SCALE
from chargen.model.saved import KIND, SavedModel
from chargen.model.spec import CONVOLUTION, count_parameters
from chargen.storage.checkpoint import Tensors, read_tensors

PAGE = Path(__file__).with_name("page")
WORKER = ("kernel", "arrays", "tokenizer", "counts", "engine", "sampling", "reader", "worker")
TOKENIZERS = ("char", "byte")
LIMIT = 1.5  # bytes of the file for each weight; the page of a small model comes on top
BITS = range(8, 17)  # of a number: int8 to int16
MOST_WEIGHTS = 300_000_000  # a browser reads a text of about 500 MB at most
DIGITS = bytes(code for code in range(33, 127) if chr(code) not in "<&\\")  # 91, none of HTML's
PAIR = 13  # bits in two digits: 91 x 91 > 2^13
COLUMNS = 4096  # characters of a line


class Exported(NamedTuple):
    """A page and what it holds.

    Attributes:
        page: the HTML file.
        weights: how many, the numbers of the n-gram counts among them.
        bits: of a weight in the largest matrix that was rounded; None if all were int8 before.
        has_text: whether the n-gram counts are in it, and with them the training text.
    """

    page: bytes
    weights: int
    bits: int | None
    has_text: bool


def to_html(saved: SavedModel, *, int8: bool = False) -> Exported:
    """Return a model as a page.

    Args:
        saved: the model.
        int8: all matrices in int8, for the smallest file.

    Raises:
        CheckpointError: the file is missing or damaged.
        ConfigError: a page cannot hold the model.
    """
    _check(saved)
    stored, _ = read_tensors(saved.path, KIND)
    weights = sum(array.size for name, array in stored.items() if not name.endswith(SCALE))
    program = _program()
    most = int(LIMIT * weights)
    room = 0 if int8 else most - min(len(str(program)), most // 10)
    arrays, bits = rounded(stored, room)
    page = _assembled(program, saved.name, {**_about(saved), "weights": weights}, arrays)
    return Exported(page, weights, bits, saved.mixture is not None)


def _check(saved: SavedModel) -> None:
    """Refuse a model that a page has no tokenizer for, or no room."""
    kind, weights = saved.tokenizer.kind, count_parameters(saved.config)
    if kind not in TOKENIZERS:
        raise ConfigError(
            f"an HTML page knows the tokenizers {' and '.join(TOKENIZERS)}; this model has {kind}; "
            "export it with --onnx"
        )
    convolutions = [layer.name for layer in saved.config.layers if layer.kind == CONVOLUTION]
    if convolutions:
        raise ConfigError(
            f"an HTML page knows no convolutions; this model has {', '.join(convolutions)}; "
            "export it with --onnx"
        )
    if weights > MOST_WEIGHTS:
        raise ConfigError(
            f"an HTML page holds {MOST_WEIGHTS:,} weights at most; this model has {weights:,}; "
            "export it with --onnx"
        )


def _about(saved: SavedModel) -> dict[str, object]:
    """Return what the engine needs to know beside the arrays."""
    config, mixture = saved.config, saved.mixture
    return {
        "tokenizer": saved.tokenizer.to_json(),
        "vocabulary": config.vocab_size,
        "embedding": config.embedding,
        "layers": [{"kind": layer.kind, "hidden": layer.hidden} for layer in config.layers],
        "labels": config.labels,
        "end": saved.reading.end,
        "ngrams": config.ngrams and config.ngrams.to_json(),
        "mixture": mixture and asdict(mixture),
    }


# -- arrays -------------------------------------------------------------------------------


def rounded(stored: Tensors, room: int) -> tuple[Tensors, int | None]:
    """Return all arrays of a page, and the bits of the largest matrix that was rounded.

    Args:
        stored: what a model file holds; its matrices are float32, or int8 already.
        room: characters that they may take; with too few, matrices are int8.
    """
    coarse = {name: a for name, a in stored.items() if a.ndim == 2 and a.dtype != np.int8}
    kept = {name: _plain(array) for name, array in stored.items() if name not in coarse}
    if not coarse:
        return kept, None
    room -= _characters(kept)
    for bits in reversed(BITS):
        found = _matrices(coarse, bits)
        if bits == BITS[0] or _characters(found) <= room:
            break
    return {**kept, **found}, bits


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in a type that JavaScript has: float16 as float32, which packs as well."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _matrices(weights: Tensors, bits: int) -> Tensors:
    """Round matrices and return them with the factors of their rows.

    Small ones get more bits: a matrix adds about as much to the error as another, however many
    weights it has, and its bits cost the less the fewer they are. Where the error is least for its
    bits, half as many weights have half a bit more.
    """
    largest = max(weight.size for weight in weights.values())
    arrays: Tensors = {}
    for name, weight in weights.items():
        more = math.log2(largest / weight.size) / 2 if bits > BITS[0] else 0
        arrays[name], arrays[name + SCALE] = _rounded(weight, min(bits + int(more), BITS[-1]))
    return arrays


def _rounded(weight: NDArray[np.float32], bits: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return a matrix (R, C) as whole numbers and the factors of its rows (R).

    Numbers of 9 to 15 bits are the upper ones of int16: their upper byte is then that of int8, the
    lower has few values, and both compress well.
    """
    levels, unit = 2 ** (bits - 1) - 1, 1 if bits == BITS[0] else 2 ** (BITS[-1] - bits)
    scale = np.abs(weight).max(axis=1) / np.float32(levels)
    numbers = np.rint(weight / np.where(scale > 0, scale, 1)[:, None]) * unit  # (R, C)
    return numbers.astype(np.int16 if bits > BITS[0] else np.int8), scale / np.float32(unit)


def _planes(array: NDArray[Any]) -> bytes:
    """Return the bytes of an array: the lowest of each number, then the next, and so on."""
    little = array.astype(array.dtype.newbyteorder("<")).reshape(-1, 1)
    return little.view(np.uint8).T.tobytes()


def _characters(arrays: Tensors) -> int:
    """Return about how many characters arrays take: by the entropy of the bytes of each plane."""
    bits = 0.0
    for array in arrays.values():
        for plane in np.frombuffer(_planes(array), np.uint8).reshape(array.itemsize, -1):
            counts = np.bincount(plane, minlength=1).astype(np.float64)
            found = counts[counts > 0]
            bits += float((found * np.log2(len(plane) / found)).sum())
    return int(1.01 * bits * 2 / PAIR)  # Huffman codes take up to one in a hundred more


def _tensors(arrays: Tensors) -> list[dict[str, object]]:
    return [
        {"name": name, "type": array.dtype.name, "shape": list(array.shape)}
        for name, array in arrays.items()
    ]


def digits_of(data: bytes) -> str:
    """Return bytes as lines of digits, the lower digit of each pair first."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    groups = np.concatenate([bits, np.zeros(-len(bits) % PAIR, np.uint8)]).reshape(-1, PAIR)
    values = groups @ (1 << np.arange(PAIR)[::-1])
    pairs = np.stack([values % len(DIGITS), values // len(DIGITS)], axis=1)
    text = np.frombuffer(DIGITS, np.uint8)[pairs].tobytes().decode()
    return "\n".join(text[at : at + COLUMNS] for at in range(0, len(text), COLUMNS))


# -- page ---------------------------------------------------------------------------------


def _program() -> dict[str, str]:
    """Return the parts of the page that are the same for all models, by their names in it."""
    style, program = _file("style.css"), _file("page.js")
    worker = "\n".join(_file(f"{name}.js") for name in WORKER)
    assert "</" not in worker + program + style  # nothing of ours can end its element
    hashes = {"style_hash": _hash(style), "program_hash": _hash(program)}
    return {"style": style, "program": program, "worker": worker, **hashes}


def _assembled(
    program: dict[str, str], title: str, about: dict[str, object], arrays: Tensors
) -> bytes:
    """Return the page of a model; what is not ASCII in its title is a reference."""
    data = zlib.compress(b"".join(map(_planes, arrays.values())), 6)
    about = {**about, "size": len(data), "tensors": _tensors(arrays)}
    own = {"title": html.escape(title), "about": _json(about), "weights": digits_of(data)}
    page = Template(_file("index.html")).substitute(program, **own)
    return page.encode("ascii", "xmlcharrefreplace")


def _json(data: object) -> str:
    """Return JSON that cannot end the element around it."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _file(name: str) -> str:
    return (PAGE / name).read_text("utf-8")


def _hash(text: str) -> str:
    """Return the hash by which the policy of the page knows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

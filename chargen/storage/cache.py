"""Cache of data that can be recomputed: token ids of texts, ONNX graphs of models.

Each file is verified by its checksum and recomputed if it is damaged. Files that were not used for
a month are deleted. The folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from chargen.errors import StorageError
from chargen.storage.files import cache_folder, make_folder, write_whole, writing

DIGEST = 32  # bytes of a sha256
MONTH = 30 * 86400.0  # seconds

Encode = Callable[[], Iterator[tuple[bytes, dict[str, Any]]]]
"""Yields ids as bytes, each block with facts about the text; later facts replace earlier ones."""


def cached_ids(
    key: str, dtype: np.dtype[Any], encode: Encode
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return the cached ids of a key and the facts about them; encode them if they are missing.

    If the cache cannot be written, the ids stay in memory and the fact ``not_kept`` says why.
    """
    path = cache_folder() / "corpora" / f"{key}.ids"
    facts = _whole(path)
    if facts is None:
        try:
            facts = _write(path, encode)
        except StorageError as error:
            ids, facts = _in_memory(dtype, encode)
            return ids, {**facts, "not_kept": str(error)}
    _used(path.with_suffix(".json"))
    _used(path)
    if not path.stat().st_size:
        return np.zeros(0, dtype), facts
    return np.memmap(path, dtype, mode="r"), facts


def _whole(path: Path) -> dict[str, Any] | None:
    """Return the facts about a file of ids if both are present and undamaged, else None."""
    try:
        facts = json.loads(path.with_suffix(".json").read_bytes())
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and facts.get("sha256") == digest else None


def _write(path: Path, encode: Encode) -> dict[str, Any]:
    """Write the ids, then the facts: their file marks the ids as complete."""
    make_folder(path.parent)
    with writing(path) as file:
        facts = _fill(file, encode)
    write_whole(path.with_suffix(".json"), json.dumps(facts).encode())
    _forget(path)
    return facts


def _fill(file: BinaryIO, encode: Encode) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    digest = hashlib.sha256()
    for data, known in encode():
        file.write(data)
        digest.update(data)
        facts |= known
    return {**facts, "sha256": digest.hexdigest()}


def _in_memory(dtype: np.dtype[Any], encode: Encode) -> tuple[NDArray[Any], dict[str, Any]]:
    facts: dict[str, Any] = {}
    parts = []
    for data, known in encode():
        parts.append(data)
        facts |= known
    return np.frombuffer(b"".join(parts), dtype), facts


def cached_bytes(name: str, make: Callable[[], bytes]) -> bytes:
    """Return the cached content of a name, verified; make it if it is missing or damaged.

    The file ends with the sha256 of its content.
    """
    path = cache_folder() / name
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        data, digest = content[:-DIGEST], content[-DIGEST:]
        if hashlib.sha256(data).digest() == digest:
            _used(path)
            return data
    data = make()
    with contextlib.suppress(StorageError):  # without a cache the next start is only slower
        make_folder(path.parent)
        write_whole(path, data + hashlib.sha256(data).digest())
        _forget(path)
    return data


def _used(path: Path) -> None:
    """Record that a file was used now."""
    with contextlib.suppress(OSError):  # the file of another user, or a read-only disk
        os.utime(path)


def _forget(newest: Path) -> None:
    """Remove files that were not used in the month before this file was written."""
    with contextlib.suppress(OSError):
        now = newest.stat().st_mtime
        for path in newest.parent.iterdir():
            if now - path.stat().st_mtime > MONTH:
                path.unlink()

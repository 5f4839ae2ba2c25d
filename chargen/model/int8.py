"""Weights in int8 for a small model file: a byte a number, and one factor for each row.

::

    q = round(127 w / max |w|),  w ~ q s,  s = max |w| / 127, of each row

This is about the file only: the weights are float32 again when they are read. Legend of shapes:
R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from chargen.storage.checkpoint import Tensors

SCALE = ".scale"  # after the name of a matrix: its factors (R)
LEVELS = 127


def packed(weights: Tensors, only: Collection[str] | None = None) -> Tensors:
    """Return weights with matrices (R, C) in int8; vectors stay as they are.

    Args:
        weights: by their names.
        only: names of the matrices to pack; None for all.
    """
    tensors: Tensors = {}
    for name, weight in weights.items():
        if weight.ndim != 2 or (only is not None and name not in only):
            tensors[name] = weight
            continue
        scale = (np.abs(weight).max(axis=1) / LEVELS).astype(np.float16)
        factors = scale.astype(np.float32)[:, None]
        rows = np.divide(weight, factors, out=np.zeros_like(weight), where=factors > 0)
        tensors[name] = np.clip(np.rint(rows), -LEVELS, LEVELS).astype(np.int8)
        tensors[name + SCALE] = scale
    return tensors


def unpacked(tensors: Tensors) -> Tensors:
    """Return all weights in float32.

    Raises:
        KeyError: a matrix in int8 has no factors.
        ValueError: they are not one a row.
    """
    return {name: _unpacked(name, tensors) for name in tensors if not name.endswith(SCALE)}


def _unpacked(name: str, tensors: Tensors) -> np.ndarray:
    weight = tensors[name].astype(np.float32)
    if tensors[name].dtype != np.int8:
        return weight
    scale = tensors[name + SCALE]
    if scale.shape != weight.shape[:1]:
        raise ValueError(f"{name} has {scale.shape} factors for {weight.shape}")
    return weight * scale.astype(np.float32)[:, None]

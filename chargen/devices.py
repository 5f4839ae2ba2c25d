"""What this machine computes with: cores, memory, and the device that torch uses."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

from chargen.errors import DeviceError

if TYPE_CHECKING:
    import torch


def count_cores() -> int:
    """Return the number of CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_memory() -> None:
    """Ask the C library to keep freed memory for the next step of training.

    Each step allocates the same large tensors again. By default glibc gives them back to the
    system, and every page comes anew, cleared when it is first touched: a step takes up to
    1.7 times as long so (docs/measurements.md). Where there is no glibc, nothing happens.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # names of malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)  # the most there can be
        mallopt(trim_threshold, -1)  # never
        mallopt(top_pad, 64 << 20)


def find_device(name: str) -> torch.device:
    """Return the torch device of this name; ``auto`` is the best one there is.

    Raises:
        DeviceError: this machine, or this build of torch, has no such device.
    """
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    present["cpu"] = True
    if name == "auto":
        return torch.device(next(device for device, there in present.items() if there))
    if not present.get(name, False):
        there = ", ".join(device for device in present if present[device])
        raise DeviceError(f"device is {name!r}; torch finds here: {there}")
    return torch.device(name)

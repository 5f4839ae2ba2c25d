"""What this machine computes with: cores, and the device that torch uses."""

from __future__ import annotations

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

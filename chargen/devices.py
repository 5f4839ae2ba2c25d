"""Which device torch computes on."""

from __future__ import annotations

import torch

from chargen.errors import ConfigError


def find_device(name: str) -> torch.device:
    """Return the device of this name; ``auto`` is the best one there is.

    Raises:
        ConfigError: this machine, or this build of torch, has no such device.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    present["cpu"] = True
    if name == "auto":
        return torch.device(next(device for device, there in present.items() if there))
    if not present.get(name, False):
        there = ", ".join(device for device in present if present[device])
        raise ConfigError(f"device is {name!r}; torch finds here: {there}")
    return torch.device(name)

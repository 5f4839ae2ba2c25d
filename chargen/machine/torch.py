"""Torch on this machine: the device it uses, and the precisions that run there."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

from chargen.errors import DeviceError

if TYPE_CHECKING:
    import torch

INSTALL = "pip install 'torch>=2.6,<2.14'"


def need_torch(what: str) -> None:
    """Refuse what needs torch where it is not installed; torch itself is not imported.

    Args:
        what: the command or function that needs it.

    Raises:
        DeviceError: it is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise DeviceError(f"{what} needs torch, which is not installed; install it: {INSTALL}")


def find_device(name: str) -> torch.device:
    """Return the torch device of this name; ``auto`` is the best one there is.

    Raises:
        DeviceError: this machine, or this build of torch, has no such device.
    """
    import torch

    present = devices()
    if name != "auto" and name not in present:
        raise DeviceError(f"device is {name!r}; torch finds here: {', '.join(present)}")
    return torch.device(present[0] if name == "auto" else name)


def devices() -> list[str]:
    """Return the devices that torch finds here, the best one first."""
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(device for device, there in present.items() if there), "cpu"]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which products run in this precision."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@functools.cache
def can_run(precision: str, device: torch.device) -> bool:
    """Tell whether a precision runs here, by one tiny step of training; tried once a process.

    Torch hands a bfloat16 LSTM to oneDNN whatever the processor is: on those without AVX-512
    oneDNN refuses the forward pass, and on some with AVX2-VNNI-2 only the backward pass.
    """
    if precision == "float32":
        return True
    import torch
    from torch import nn

    lstm, head = nn.LSTM(8, 8, device=device), nn.Linear(8, 8, device=device)
    try:
        with torch.enable_grad(), autocast(device, precision):
            loss = head(lstm(torch.ones(2, 2, 8, device=device))[0]).float().sum()
        loss.backward()
    except RuntimeError:
        return False
    gradients = [weight.grad for weight in lstm.parameters()]
    return all(g is not None and bool(g.isfinite().all()) for g in gradients)


def runnable(precision: str, device: torch.device) -> str:
    """Return the precision itself, or float32 where it does not run."""
    return precision if can_run(precision, device) else "float32"


def not_available(precision: str, device: torch.device) -> str:
    """Return a sentence for a precision that does not run here."""
    return f"{precision} not available on this {device.type.upper()}"


def describe() -> dict[str, Any]:
    """Return what torch says of the processor and of graphics cards, and what was tried here."""
    import torch

    cpu = torch.device("cpu")
    return {
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "precisions": [name for name in ("float32", "bfloat16") if can_run(name, cpu)],
        "devices": devices(),
        "torch_has_cuda": torch.version.cuda is not None,
    }

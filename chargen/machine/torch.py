"""Devices of torch on this machine, and the precisions that run there."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

from chargen.config import check_threads
from chargen.errors import DeviceError
from chargen.machine import count_cores

if TYPE_CHECKING:
    import torch

INSTALL = "pip install 'torch>=2.6,<2.14'"


def need_torch(what: str) -> None:
    """Check that torch is installed, without importing it.

    Args:
        what: the command or function that needs it.

    Raises:
        DeviceError: torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise DeviceError(f"{what} needs torch, which is not installed; install it: {INSTALL}")


def find_device(name: str) -> torch.device:
    """Return the torch device with this name; ``auto`` is the best one available.

    Raises:
        DeviceError: the device does not exist here, or not for this build of torch.
    """
    import torch

    present = devices()
    if name != "auto" and name not in present:
        raise DeviceError(f"device is {name!r}; available: {', '.join(present)}")
    return torch.device(present[0] if name == "auto" else name)


def devices() -> list[str]:
    """Return the available devices, the best one first."""
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(device for device, there in present.items() if there), "cpu"]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for this precision."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@functools.cache
def can_run(precision: str, device: torch.device) -> bool:
    """Tell whether a precision runs on a device, by one tiny training step per process.

    torch calls oneDNN for a bfloat16 LSTM on every processor. Without AVX-512 oneDNN refuses the
    forward pass, and on some processors with AVX2-VNNI-2 only the backward pass.
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
    """Return the precision if it runs on the device, else float32."""
    return precision if can_run(precision, device) else "float32"


def not_available(precision: str, device: torch.device) -> str:
    """Return the message for a precision that does not run on a device."""
    return f"{precision} not available on this {device.type.upper()}"


def use_threads(threads: int | None) -> None:
    """Set the number of CPU threads of torch; None uses all cores."""
    import torch

    check_threads(threads)
    torch.set_num_threads(threads or count_cores())


def describe() -> dict[str, Any]:
    """Return the facts from torch about the processor, precisions and devices."""
    import torch

    cpu = torch.device("cpu")
    return {
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "precisions": [name for name in ("float32", "bfloat16") if can_run(name, cpu)],
        "devices": devices(),
        "torch_has_cuda": torch.version.cuda is not None,
    }

"""Several processes that train one model together, as ``torchrun`` starts them.

Each process reads its own rows of the batch and keeps their state; gradients are averaged over all
(DistributedDataParallel). Rank 0 is the main process: it decides, shows and writes.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from chargen.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together; by default it is alone.

    Attributes:
        rank: its number; 0 is the main process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Tell whether this process decides, shows and writes."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return which rows of the batch are this process's.

        Raises:
            ConfigError: they cannot be shared out evenly.
        """
        if batch_size % self.size:
            allowed = f"multiples of {self.size} processes"
            raise ConfigError(f"batch-size is {batch_size}; allowed: {allowed}")
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def broadcast(self, value: T) -> T:
        """Return the main process's value, plain data, in every process."""
        return self.on_main(lambda: value)

    def on_main(self, work: Callable[[], T]) -> T:
        """Do something in the main process; return its result, plain data, in every process."""
        if self.size == 1:
            return work()
        data = json.dumps(work()).encode() if self.is_main else b""
        size = torch.tensor(len(data))
        dist.broadcast(size, 0)
        text = torch.empty(int(size), dtype=torch.uint8)
        if self.is_main:
            text = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(text, 0)
        result: T = json.loads(text.numpy().tobytes())
        return result

    def all_reduce(self, loss: float, flags: tuple[bool, ...]) -> tuple[float, tuple[bool, ...]]:
        """Return the mean loss of all processes and the main process's flags, in one message."""
        if self.size == 1:
            return loss, flags
        own = flags if self.is_main else (False,) * len(flags)
        message = torch.tensor([loss / self.size, *own], dtype=torch.float64)
        dist.all_reduce(message)
        return float(message[0]), tuple(bool(flag) for flag in message[1:])

    def all_gather(self, part: Tensor) -> Tensor:
        """Concatenate the rows of all processes, (1, B / size, H) -> (1, B, H)."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim=1)

    def barrier(self) -> None:
        """Wait until all are here; from now on each is on its own.

        While it waits, gloo's threads let go of the tensors that they sent, for which they need
        Python: one that still holds any when Python ends takes the process down with it.
        """
        if self.size > 1:
            dist.barrier()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return a model whose gradients are averaged over all processes."""
        if self.size == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)


ALONE = ProcessGroup()


def find_process_group(device: torch.device) -> ProcessGroup:
    """Join the processes that ``torchrun`` started with this one, if it did."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Gradients travel by nccl on GPUs, everything else by gloo.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    atexit.register(dist.destroy_process_group)  # its threads must not outlive Python
    return ProcessGroup(dist.get_rank(), size)

"""Facts about this machine: cores, memory, processor features, and how threads wait.

No other module asks the system or torch for them. This module does not import torch.
``machine.torch`` covers the devices and precisions of torch, ``machine.pace`` selects the fastest
number of threads, and ``machine.report`` collects the report of ``chargen doctor``.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import sys
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
SPINS = 4_000  # iterations of the spin loop of GNU OpenMP: about 20 microseconds
FLAGS: dict[str, tuple[str, ...]] = {
    "x86_64": ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16"),
    "aarch64": ("asimd", "asimddp", "bf16", "i8mm", "sve"),
}


ALLOCATION = ("can't allocate memory", "bad_alloc", "bad allocation", "failed to allocate memory")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error of Python, numpy, torch or onnxruntime is a failed allocation."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error).lower() for words in ALLOCATION)


def count_cores() -> int:
    """Return the number of CPU cores this process may use, including the limit of a container."""
    return max(1, math.ceil(min(allowed_cores(), cpu_quota())))


def allowed_cores() -> int:
    """Return the number of CPU cores on which the system lets this process run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota() -> float:
    """Return the CPU limit of a container in cores; infinity without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = ((CGROUP / f"cpu/cpu.cfs_{n}_us").read_text() for n in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    return math.inf


def thread_options(cores: int) -> tuple[int, ...]:
    """Return the numbers of threads worth trying, the largest first.

    These are all cores; one less, in case another program needs a core; half, because two logical
    cores may share a physical one or half of the cores may be slow ones; and one.
    """
    return tuple(sorted({cores, max(1, cores - 1), max(1, cores // 2), 1}, reverse=True))


def bound_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Limit how long OpenMP threads spin before they sleep; call it before importing torch.

    OpenMP threads wait for each other in a spin loop. With the default length, two threads on two
    cores make no progress as soon as another program needs one of the cores, because they spend
    their time slices on waiting (docs/machines.md). A short loop is as fast when the cores are
    idle. Settings of the user are not changed.
    """
    if environment.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
        return
    environment["GOMP_SPINCOUNT"] = str(SPINS)  # GNU OpenMP: torch on Linux
    environment["KMP_BLOCKTIME"] = "1"  # milliseconds; LLVM and Intel: macOS, conda


def forbid_telemetry(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let no library report to its maker what runs here; call it before they are imported.

    ONNX Runtime, from 1.29 on, sends the structure and checksums of each model it opens, and keeps
    a database for it in the user's cache. What the user has set himself stays.
    """
    environment.setdefault("ORT_DISABLE_TELEMETRY", "1")
    environment.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def spinning_set_by(environment: Mapping[str, str] = os.environ) -> str:
    """Return who set how long threads spin: ``chargen`` or the ``user``."""
    ours: dict[str, str] = {}
    bound_spinning(ours)
    is_ours = "OMP_WAIT_POLICY" not in environment and ours.items() <= environment.items()
    return "chargen" if is_ours else "user"


def keep_memory() -> None:
    """Let the C library keep freed memory for the next training step.

    Each step allocates the same large tensors again. By default glibc returns them to the system,
    which clears each page again on first use; a step then takes up to 1.7 times as long
    (docs/measurements.md). Without glibc this does nothing.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # from malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)  # the largest value allowed
        mallopt(trim_threshold, -1)  # never
        mallopt(top_pad, 64 << 20)


def memory_limit() -> int:
    """Return the bytes of memory this process may use, including the limit of a container."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return min(total, int((CGROUP / name).read_text()))
    return total


def free_memory() -> int:
    """Return the bytes of memory available to this process."""
    import psutil

    used = psutil.Process().memory_info().rss
    return min(int(psutil.virtual_memory().available), max(0, memory_limit() - used))


def process_age() -> float:
    """Return the seconds since this process started; 0 if the system does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, up - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


def anonymous_memory() -> int:
    """Return the bytes of memory of this process, excluding mapped files where possible."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("RssAnon"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class OtherLoad:
    """CPU load of other programs since this object was created."""

    def __init__(self) -> None:
        self._before = self._seconds()

    def cores(self) -> float:
        """Return the number of cores that other programs kept busy."""
        (others, began), (now, ended) = self._before, self._seconds()
        return max(0.0, now - others) / max(1e-3, ended - began)

    def _seconds(self) -> tuple[float, float]:
        """Return the CPU seconds of all other programs, and the time."""
        import psutil

        times, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted twice
        return sum(times) - idle - guest - own.user - own.system, time.monotonic()


def processor_name() -> str:
    """Return the name of the processor."""
    for key in ("model name", "Model", "Hardware"):
        if words := _cpuinfo().get(key):
            return words
    return platform.processor() or platform.machine()


def processor_flags() -> tuple[str, ...]:
    """Return the relevant feature flags that the processor has."""
    info = _cpuinfo()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return tuple(name for name in FLAGS.get(platform.machine(), ()) if name in flags)


def _cpuinfo() -> dict[str, str]:
    """Return the description of the first core in /proc/cpuinfo; empty if there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text().strip().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}

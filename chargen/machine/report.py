"""Report on this machine and advice, as plain data for ``chargen doctor``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import chargen
from chargen import machine
from chargen.machine.torch import INSTALL, can_run, describe, find_device

Facts = dict[str, Any]
"""Sections of facts, each a dict; an unknown fact is None."""

PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "ONEDNN_", "ATEN_", "OPENBLAS_", "CHARGEN_")
PACKAGES = ("torch", "onnxruntime", "numpy", "sentencepiece", "safetensors")
WATCH = 0.4  # seconds for which other programs are observed
BUSY = 0.3  # fraction of a core from which a program is reported
SLOWER = 0.9  # fraction of the speed with one thread below which more threads do harm
FREE_MEMORY, FREE_DISK = 2e9, 1e9  # bytes
NAMED = 3  # most programs named
SPINNING = 100_000  # most iterations of the spin loop; the default of GNU OpenMP is 300,000
AWAKE = 10.0  # most milliseconds of spinning; the default of LLVM OpenMP is 200
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}  # of GOMP_SPINCOUNT


def look(folders: dict[str, Path]) -> Facts:
    """Collect the facts about this machine that need no long computation.

    Args:
        folders: folders of chargen by name.
    """
    return {
        "versions": _versions(),
        "processor": _processor(),
        "memory": {
            "limit_bytes": _try(machine.memory_limit),
            "free_bytes": _try(machine.free_memory),
        },
        "load": _try(_load) or {"other_cores": None, "programs": []},
        "power": {"on_battery": _try(_on_battery)},
        "environment": {n: v for n, v in sorted(os.environ.items()) if n.startswith(PREFIXES)},
        "spinning": {"set_by": machine.spinning_set_by()},
        "folders": {name: _folder(path) for name, path in folders.items()},
    }


def _try(ask: Callable[[], Any]) -> Any:
    """Return the result of a query, or None: the report must appear even if something is broken."""
    try:
        return ask()
    except Exception:
        return None


def _versions() -> Facts:
    names: Facts = {"chargen": chargen.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        names[package] = _version(package)
    return names | {
        "system": _try(platform.platform),
        "c_library": _try(lambda: " ".join(platform.libc_ver()).strip()) or None,
        "bits": 64 if sys.maxsize > 2**32 else 32,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> Facts:
    import psutil

    quota = _try(machine.cpu_quota)
    return {
        "name": _try(machine.processor_name),
        "cores": _try(machine.count_cores),
        "cores_of_machine": _try(os.cpu_count),
        "physical_cores": _try(lambda: psutil.cpu_count(logical=False)),
        "allowed_cores": _try(machine.allowed_cores),
        "container_cores": quota if quota is not None and quota < math.inf else None,
        "machine": platform.machine(),
        "flags": list(_try(machine.processor_flags) or ()),
        "graphics_card": shutil.which("nvidia-smi") is not None
        or Path("/proc/driver/nvidia").exists(),
    } | _torch()


def _torch() -> Facts:
    """Return facts from torch: none without torch, or the error if it cannot be used."""
    if _try(lambda: importlib.util.find_spec("torch")) is None:
        return {}
    try:
        facts = describe()
    except Exception as error:  # its libraries may be damaged or built for another system
        return {"torch_error": f"{type(error).__name__}: {error}".splitlines()[0]}
    others = [name for name in facts["devices"] if name != "cpu"]
    return facts | {"device_precisions": {name: _try(partial(_runs, name)) for name in others}}


def _runs(device: str) -> list[str]:
    """Return the precisions that run on a device."""
    return [name for name in ("float32", "bfloat16") if can_run(name, find_device(device))]


def _load() -> Facts:
    """Return the load by other programs: all of it, and the busy programs, the busiest first."""
    import psutil

    load, own = machine.OtherLoad(), os.getpid()
    watched = [p for p in psutil.process_iter(["cpu_times"]) if p.pid != own]
    before = [(p, sum(times[:2])) for p in watched if (times := p.info["cpu_times"])]
    began = time.monotonic()
    time.sleep(WATCH)
    programs = []
    for process, seconds in before:
        try:
            cores = (sum(process.cpu_times()[:2]) - seconds) / (time.monotonic() - began)
            if cores >= BUSY:
                program = {"name": process.name(), "pid": process.pid, "cores": round(cores, 2)}
                programs.append(program)
        except psutil.Error:  # it has ended, or belongs to another user
            continue
    programs.sort(key=lambda program: -program["cores"])
    return {"other_cores": round(load.cores(), 2), "programs": programs}


def _on_battery() -> bool | None:
    import psutil

    battery = psutil.sensors_battery()
    if battery is None:
        return False
    return None if battery.power_plugged is None else not battery.power_plugged


def _folder(path: Path) -> Facts:
    """Return whether a folder is writable, its size, and the free space on its disk."""
    path = _try(path.absolute) or path
    there = next((p for p in (path, *path.parents) if _try(p.exists)), path)
    sizes = [_bytes(Path(top, name)) for top, _, names in os.walk(path) for name in names]
    return {
        "path": str(path),
        "exists": bool(_try(path.is_dir)),
        "writable": _writable(path),
        "free_bytes": _try(lambda: shutil.disk_usage(there).free),
        "used_bytes": sum(sizes),
        "files": len(sizes),
    }


def _bytes(file: Path) -> int:
    return _try(lambda: file.lstat().st_size) or 0


def _writable(path: Path) -> bool:
    """Tell whether a folder can be written, or created."""
    for folder in (path, *path.parents):
        try:
            folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:  # its name is too long, or a folder above it is locked
            return False
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return False


# -- advice ---------------------------------------------------------------------------------


def advice(facts: Facts) -> list[str]:
    """Return a sentence for each problem: what it is, and what to do.

    Args:
        facts: result of ``look``, with a section ``speed`` if the speed was measured.
    """
    sections = (_on_versions, _on_processor, _on_load, _on_environment, _on_space, _on_speed)
    return [words for section in sections for words in section(facts)]


def _on_versions(facts: Facts) -> list[str]:
    versions, words = facts["versions"], []
    if versions.get("bits") == 32:
        words.append("this is a 32-bit Python, for which there is no torch: install a 64-bit one")
    torch, processor = versions.get("torch"), facts["processor"]
    if torch is None:
        words.append(f"torch is not installed, and training needs it: {INSTALL}")
    elif error := processor.get("torch_error"):
        words.append(f"torch {torch} cannot be imported ({error}); reinstall it: {INSTALL}")
    elif not _is_supported(torch):
        words.append(f"torch {torch} is not supported: {INSTALL}")
    if torch and processor.get("graphics_card") and processor.get("torch_has_cuda") is False:
        words.append("there is an NVIDIA GPU, but this build of torch supports only CPUs")
    return words


def _is_supported(version: str) -> bool:
    """Tell whether a version of torch is in the range of ``INSTALL``."""
    oldest, newest = re.findall(r"[<>]=?([0-9.]+)", INSTALL)
    return _numbers(oldest) <= _numbers(version) < _numbers(newest)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("+")[0].split(".")[:2] if part.isdigit())


def _on_processor(facts: Facts) -> list[str]:
    processor, words = facts["processor"], []
    cores, all_cores = processor.get("cores"), processor.get("cores_of_machine")
    if cores and all_cores and cores < all_cores:
        words.append(
            f"only {cores} of {all_cores} cores are available ({_limited_by(processor)}): "
            "allow more of them"
        )
    if "precisions" in processor and "bfloat16" not in processor["precisions"]:
        words.append("bfloat16 is not available on this CPU; float32 is used instead")
    flags = processor.get("flags")
    if processor.get("machine") == "x86_64" and flags and "avx2" not in flags:
        words.append("this CPU has no AVX2: everything works, but several times slower")
    return words


def _limited_by(processor: Facts) -> str:
    """Return what limits the number of cores."""
    quota, allowed = processor.get("container_cores"), processor.get("allowed_cores")
    if quota and (allowed is None or quota < allowed):
        return f"container limit {quota:.3g}"
    return "CPU affinity, as set by taskset or a batch system"


def _on_load(facts: Facts) -> list[str]:
    programs = facts["load"]["programs"]
    words = [
        f"{program['name']} (process {program['pid']}) uses {program['cores']:.1f} cores: "
        "chargen runs with fewer threads"
        for program in programs[:NAMED]
    ]
    if others := programs[NAMED:]:
        cores = sum(program["cores"] for program in others)
        words.append(f"{len(others)} more programs use {cores:.1f} cores")
    if facts["power"]["on_battery"]:
        words.append("this computer runs on battery: plug it in, which makes it faster")
    return words


def _on_environment(facts: Facts) -> list[str]:
    environment, words = facts["environment"], []
    for name, is_endless in SPINNERS.items():
        if is_endless(environment.get(name, "").strip().lower()):
            words.append(
                f"{name}={environment[name]} makes threads spin too long, which slows them down "
                "when other programs run: unset it"
            )
    threads, cores = (
        environment.get("OMP_NUM_THREADS", "").split(",")[0],
        facts["processor"]["cores"],
    )
    if threads.isdigit() and cores and int(threads) > cores:
        words.append(f"OMP_NUM_THREADS={threads} exceeds the number of cores: unset it")
    return words


def _spins_long(turns: str) -> bool:
    """Tell whether a setting of GNU OpenMP lets threads spin too long."""
    number = re.fullmatch(r"(\d+)\s*([kmgt]?)", turns)
    endless = turns in ("infinite", "infinity")
    return endless or (number is not None and int(number[1]) * UNITS[number[2]] > SPINNING)


def _blocks_long(time: str) -> bool:
    """Tell whether a setting of LLVM OpenMP lets threads spin too long."""
    number = re.fullmatch(r"(\d+)\s*(ms|us)?", time)
    if number is None:
        return time in ("infinite", "infinity")
    return int(number[1]) / (1000 if number[2] == "us" else 1) > AWAKE


SPINNERS: dict[str, Callable[[str], bool]] = {
    "GOMP_SPINCOUNT": _spins_long,
    "KMP_BLOCKTIME": _blocks_long,
    "OMP_WAIT_POLICY": lambda policy: policy == "active",
}


def _on_space(facts: Facts) -> list[str]:
    words, free = [], facts["memory"]["free_bytes"]
    if free is not None and free < FREE_MEMORY:
        words.append(f"only {free / 1e9:.1f} GB of memory are free: close other programs")
    for name, folder in facts["folders"].items():
        move = f"set CHARGEN_{name.upper()} to another folder"
        if not folder["writable"]:
            words.append(f"the {name} folder is not writable, {folder['path']}: {move}")
        elif folder["free_bytes"] is not None and folder["free_bytes"] < FREE_DISK:
            space = f"{folder['free_bytes'] / 1e9:.1f} GB"
            words.append(f"only {space} of disk space are free for {name}: free some, or {move}")
    return words


def _on_speed(facts: Facts) -> list[str]:
    words = []
    for what, name in (("training", "training"), ("sampling float32", "sampling")):
        speeds = (facts.get("speed") or {}).get(what) or {}
        one, most = speeds.get("1"), max(speeds, key=int, default="1")
        if one and speeds[most] and speeds[most] < SLOWER * one:
            words.append(
                f"{name} is slower with {most} threads than with one: chargen uses one; "
                "check for other programs"
            )
    return words

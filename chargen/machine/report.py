"""What this machine is and what is off on it, as plain data: ``chargen doctor`` shows it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chargen
from chargen import machine
from chargen.machine.torch import INSTALL, describe

Facts = dict[str, Any]
"""Sections of facts, each a dict; a fact that could not be had is None."""

PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "ONEDNN_", "ATEN_", "OPENBLAS_", "CHARGEN_")
PACKAGES = ("torch", "onnxruntime", "numpy", "sentencepiece", "safetensors")
OLDEST_TORCH, NEWEST_TORCH = (2, 6), (2, 14)
WATCH = 0.4  # seconds in which other programs are watched
BUSY = 0.3  # of a core: a program that is worth naming
FREE_MEMORY, FREE_DISK = 2e9, 1e9  # bytes
SPINNING = 100_000  # turns of a waiting loop that are too many


def look(folders: dict[str, Path]) -> Facts:
    """Return what can be known of this machine without computing anything large.

    Args:
        folders: where chargen keeps what, by name.
    """
    return {
        "versions": _versions(),
        "processor": _processor(),
        "memory": {
            "limit_bytes": _try(machine.memory_limit),
            "free_bytes": _try(machine.free_memory),
        },
        "load": _try(_load) or {"programs": []},
        "power": {"on_battery": _try(_on_battery)},
        "environment": {n: v for n, v in sorted(os.environ.items()) if n.startswith(PREFIXES)},
        "folders": {name: _folder(path) for name, path in folders.items()},
    }


def _try(ask: Callable[[], Any]) -> Any:
    """Return what can be asked, or None: a report must come whatever is broken."""
    try:
        return ask()
    except Exception:
        return None


def _versions() -> Facts:
    names: Facts = {"chargen": chargen.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        names[package] = _version(package)
    return names | {
        "system": platform.platform(),
        "c_library": " ".join(platform.libc_ver()).strip() or None,
        "bits": 64 if sys.maxsize > 2**32 else 32,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> Facts:
    import psutil

    facts: Facts = {
        "name": _try(machine.processor_name),
        "cores": machine.count_cores(),
        "cores_of_machine": os.cpu_count(),
        "physical_cores": _try(lambda: psutil.cpu_count(logical=False)),
        "machine": platform.machine(),
        "flags": list(_try(machine.processor_flags) or ()),
        "graphics_card": shutil.which("nvidia-smi") is not None
        or Path("/proc/driver/nvidia").exists(),
    }
    there = importlib.util.find_spec("torch") is not None
    return facts | ((_try(describe) if there else None) or {})


def _load() -> Facts:
    """Return the programs that keep a core busy, with their share of one."""
    import psutil

    load, own = machine.OtherLoad(), os.getpid()
    before = {p.pid: (p, sum(p.cpu_times()[:2])) for p in psutil.process_iter() if p.pid != own}
    began = time.monotonic()
    time.sleep(WATCH)
    programs = []
    for process, seconds in before.values():
        try:
            share = (sum(process.cpu_times()[:2]) - seconds) / (time.monotonic() - began)
            name = process.name()
        except psutil.Error:  # it has ended
            continue
        if share >= BUSY:
            programs.append({"name": name, "pid": process.pid, "cores": round(share, 2)})
    return {"other_cores": round(load.cores(), 2), "programs": programs}


def _on_battery() -> bool:
    import psutil

    battery = psutil.sensors_battery()
    return battery is not None and not battery.power_plugged


def _folder(path: Path) -> Facts:
    """Return whether a folder can be written, and how much room it has."""
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else []
    return {
        "path": str(path.absolute()),
        "exists": path.is_dir(),
        "writable": there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        "free_bytes": _try(lambda: shutil.disk_usage(there).free),
        "used_bytes": _try(lambda: sum(p.stat().st_size for p in files)),
    }


# -- advice ---------------------------------------------------------------------------------


def advice(facts: Facts) -> list[str]:
    """Return a sentence for each thing that is off: what it is, and what to do.

    Args:
        facts: what ``look`` found; with a section ``speed`` if that was measured.
    """
    sections = (_on_versions, _on_processor, _on_load, _on_environment, _on_room, _on_speed)
    return [words for section in sections for words in section(facts)]


def _on_versions(facts: Facts) -> list[str]:
    versions, words = facts["versions"], []
    if versions.get("bits") == 32:
        words.append("this Python has 32 bits, for which there is no torch: install one of 64 bits")
    torch = versions.get("torch")
    if torch is None:
        words.append(f"torch is not installed, so nothing can be trained here: {INSTALL}")
    elif not OLDEST_TORCH <= _numbers(torch) < NEWEST_TORCH:
        words.append(f"torch {torch} was not tested with chargen: {INSTALL}")
    processor = facts["processor"]
    if torch and processor.get("graphics_card") and not processor.get("torch_has_cuda"):
        words.append("there is a graphics card, but this torch is built for CPUs only")
    return words


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("+")[0].split(".")[:2] if part.isdigit())


def _on_processor(facts: Facts) -> list[str]:
    processor, words = facts["processor"], []
    cores, all_cores = processor["cores"], processor.get("cores_of_machine") or 0
    if cores < all_cores:
        words.append(
            f"{cores} of {all_cores} cores may be used (an affinity or a container's share): "
            "give chargen more of them"
        )
    if "precisions" in processor and "bfloat16" not in processor["precisions"]:
        words.append("bfloat16 not available on this CPU: float32 is used, nothing to do")
    flags = processor.get("flags")
    if processor.get("machine") == "x86_64" and flags and "avx2" not in flags:
        words.append("this CPU has no AVX2: everything works, several times as slowly")
    return words


def _on_load(facts: Facts) -> list[str]:
    words = [
        f"{program['name']} (process {program['pid']}) keeps {program['cores']:.1f} cores busy: "
        "chargen uses fewer threads beside it"
        for program in facts["load"]["programs"]
    ]
    if facts["power"]["on_battery"]:
        words.append("this computer runs on its battery: plug it in, it computes faster then")
    return words


def _on_environment(facts: Facts) -> list[str]:
    environment, words = facts["environment"], []
    spins = environment.get("GOMP_SPINCOUNT", "")
    too_many = spins.lower() == "infinity" or (spins.isdigit() and int(spins) > SPINNING)
    active = environment.get("OMP_WAIT_POLICY", "").lower() == "active"
    for name in [*["GOMP_SPINCOUNT"] * too_many, *["OMP_WAIT_POLICY"] * active]:
        words.append(
            f"{name}={environment[name]} makes threads wait without end, and stand still beside "
            "other programs: unset it"
        )
    threads = environment.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > facts["processor"]["cores"]:
        words.append(f"OMP_NUM_THREADS={threads} is more than there are cores: unset it")
    return words


def _on_room(facts: Facts) -> list[str]:
    words, free = [], facts["memory"]["free_bytes"]
    if free is not None and free < FREE_MEMORY:
        words.append(f"only {free / 1e9:.1f} GB of memory are free: close other programs")
    for name, folder in facts["folders"].items():
        move = f"set CHARGEN_{name.upper()} to another folder"
        if not folder["writable"]:
            words.append(f"the folder of {name} cannot be written, {folder['path']}: {move}")
        elif folder["free_bytes"] is not None and folder["free_bytes"] < FREE_DISK:
            room = f"{folder['free_bytes'] / 1e9:.1f} GB"
            words.append(f"only {room} of disk are free for {name}: make room, or {move}")
    return words


def _on_speed(facts: Facts) -> list[str]:
    words = []
    for what, name in (("training", "training"), ("sampling float32", "sampling")):
        speeds = (facts.get("speed") or {}).get(what) or {}
        one, most = speeds.get("1"), max(speeds, key=int, default="1")
        if one and most != "1" and speeds[most] < 0.9 * one:
            words.append(
                f"{name} is slower with {most} threads than with one just now: chargen takes one; "
                "see what else is running"
            )
    return words

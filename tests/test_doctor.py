"""``chargen doctor``: its report in every form, and each line of advice."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from chargen.machine.report import Facts, advice
from chargen.machine.torch import INSTALL
from tests.conftest import Run
from tests.screen import Watched

GOOD: Facts = {
    "versions": {"torch": "2.13.0+cpu", "bits": 64},
    "processor": {
        "cores": 4,
        "cores_of_machine": 4,
        "machine": "x86_64",
        "flags": ["avx2", "avx512f"],
        "precisions": ["float32", "bfloat16"],
        "graphics_card": False,
        "torch_has_cuda": False,
    },
    "memory": {"limit_bytes": 16e9, "free_bytes": 8e9},
    "load": {"other_cores": 0.0, "programs": []},
    "power": {"on_battery": False},
    "environment": {"GOMP_SPINCOUNT": "4000", "OMP_NUM_THREADS": "2"},
    "folders": {
        "checkpoints": {"path": "/runs", "writable": True, "free_bytes": 5e10},
        "cache": {"path": "/cache", "writable": True, "free_bytes": None},
    },
    "speed": {
        "training": {"1": 100.0, "4": 300.0},
        "sampling float32": {"1": 100.0, "4": 95.0},
    },
}
SHORT = "the folder of cache cannot be written, /cache: set CHARGEN_CACHE to another folder"
SPIN = "makes threads wait without end, and stand still beside other programs: unset it"
SLOWER = "with 4 threads than with one just now: chargen takes one; see what else is running"
CASES: list[tuple[str, Any, str]] = [
    (
        "versions.bits",
        32,
        "this Python has 32 bits, for which there is no torch: install one of 64 bits",
    ),
    (
        "versions.torch",
        None,
        f"torch is not installed, so nothing can be trained here: {INSTALL}",
    ),
    ("versions.torch", "2.5.1", f"torch 2.5.1 was not tested with chargen: {INSTALL}"),
    ("versions.torch", "2.14.0", f"torch 2.14.0 was not tested with chargen: {INSTALL}"),
    (
        "processor.graphics_card",
        True,
        "there is a graphics card, but this torch is built for CPUs only",
    ),
    (
        "processor.cores_of_machine",
        8,
        "4 of 8 cores may be used (an affinity or a container's share): give chargen more of them",
    ),
    (
        "processor.precisions",
        ["float32"],
        "bfloat16 not available on this CPU: float32 is used, nothing to do",
    ),
    (
        "processor.flags",
        ["avx_vnni"],
        "this CPU has no AVX2: everything works, several times as slowly",
    ),
    (
        "load.programs",
        [{"name": "browser", "pid": 7, "cores": 0.98}],
        "browser (process 7) keeps 1.0 cores busy: chargen uses fewer threads beside it",
    ),
    (
        "power.on_battery",
        True,
        "this computer runs on its battery: plug it in, it computes faster then",
    ),
    ("environment.GOMP_SPINCOUNT", "30000000", f"GOMP_SPINCOUNT=30000000 {SPIN}"),
    ("environment.GOMP_SPINCOUNT", "INFINITY", f"GOMP_SPINCOUNT=INFINITY {SPIN}"),
    ("environment.OMP_WAIT_POLICY", "ACTIVE", f"OMP_WAIT_POLICY=ACTIVE {SPIN}"),
    (
        "environment.OMP_NUM_THREADS",
        "16",
        "OMP_NUM_THREADS=16 is more than there are cores: unset it",
    ),
    ("memory.free_bytes", 1.2e9, "only 1.2 GB of memory are free: close other programs"),
    ("folders.cache.writable", False, SHORT),
    (
        "folders.checkpoints.free_bytes",
        3e8,
        "only 0.3 GB of disk are free for checkpoints: make room, or set CHARGEN_CHECKPOINTS to "
        "another folder",
    ),
    ("speed.training.4", 80.0, f"training is slower {SLOWER}"),
    ("speed.sampling float32.4", 80.0, f"sampling is slower {SLOWER}"),
]


@pytest.mark.parametrize(("place", "value", "words"), CASES)
def test_each_thing_that_is_off_has_its_advice(place: str, value: Any, words: str) -> None:
    facts = copy.deepcopy(GOOD)
    *sections, name = place.split(".")
    part = facts
    for section in sections:
        part = part[section]
    part[name] = value
    assert advice(facts) == [words]


def test_where_nothing_is_off_there_is_no_advice() -> None:
    assert advice(GOOD) == []
    assert advice({**GOOD, "speed": None}) == []


def test_what_could_not_be_had_is_no_reason_for_advice() -> None:
    unknown = copy.deepcopy(GOOD)
    for section in ("memory", "power"):
        unknown[section] = dict.fromkeys(unknown[section])
    unknown["processor"] = {"cores": 4, "cores_of_machine": None, "flags": []}
    assert advice(unknown) == []


def test_the_report_as_json(chargen: Run) -> None:
    done = chargen("doctor", "--json", "--no-probe")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert list(facts) == [*GOOD, "advice"]
    assert facts["speed"] is None
    assert facts["environment"]["GOMP_SPINCOUNT"] == "20000"
    assert facts["folders"]["cache"]["path"] == os.environ["CHARGEN_CACHE"]
    assert "float32" in facts["processor"]["precisions"]
    assert facts["advice"] == advice(facts)


def test_the_report_in_a_pipe_has_the_speed_too(chargen: Run) -> None:
    done = chargen("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    for title in ("versions", "machine", "folders", "environment", "speed", "advice"):
        assert f"\n{title}\n" in f"\n{done.stdout}"
    for name in ("matrices float32", "training", "sampling float32", "sampling int8"):
        assert f"  {name} " in done.stdout


def test_the_report_fits_a_terminal() -> None:
    terminal = Watched("doctor", "--no-probe")
    assert terminal.end() == 0  # its screen refuses a line of more than 80 columns
    assert "\n  processor  " in terminal.screen.text()
    assert "\nadvice\n" in terminal.screen.text()


def test_a_broken_machine_still_gets_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    from chargen.machine.report import look

    def broken(*_: object, **__: object) -> None:
        raise OSError("no")

    for name in ("virtual_memory", "cpu_count", "process_iter", "sensors_battery"):
        monkeypatch.setattr(psutil, name, broken)
    facts = look({})
    assert facts["memory"] == {"limit_bytes": None, "free_bytes": None}
    assert facts["load"] == {"programs": []}
    assert facts["processor"]["physical_cores"] is None
    assert advice(facts) is not None


def test_without_torch_everything_else_is_told() -> None:
    hide = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        "import importlib.metadata as m; version = m.version\n"
        "def gone(name):\n"
        "    if name == 'torch': raise m.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "m.version = gone; sys.modules['torch'] = None\n"
        "sys.argv = ['chargen', 'doctor', '--json']\n"
        "from chargen.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, check=True, timeout=60
    )
    facts = json.loads(done.stdout)
    assert facts["versions"]["torch"] is None
    assert list(facts["speed"]) == ["sampling float32", "sampling int8"]
    assert f"torch is not installed, so nothing can be trained here: {INSTALL}" in facts["advice"]

"""``chargen doctor``: its report in every form, and each line of advice."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chargen.machine import spinning_set_by
from chargen.machine.report import Facts, advice, look
from chargen.machine.torch import INSTALL
from tests.conftest import HAS_TORCH, Run, needs_torch, write
from tests.processes import run
from tests.screen import Watched

GOOD: Facts = {
    "versions": {"torch": "2.13.0+cpu", "bits": 64},
    "processor": {
        "cores": 4,
        "cores_of_machine": 4,
        "allowed_cores": 4,
        "container_cores": None,
        "machine": "x86_64",
        "flags": ["avx2", "avx512f"],
        "precisions": ["float32", "bfloat16"],
        "graphics_card": False,
        "torch_has_cuda": False,
    },
    "memory": {"limit_bytes": 16e9, "free_bytes": 8e9},
    "load": {"other_cores": 0.0, "programs": []},
    "power": {"on_battery": False},
    "environment": {
        "GOMP_SPINCOUNT": "4000",
        "KMP_BLOCKTIME": "1",
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
    },
    "spinning": {"set_by": "chargen"},
    "folders": {
        "checkpoints": {"path": "/runs", "writable": True, "free_bytes": 5e10},
        "cache": {"path": "/cache", "writable": True, "free_bytes": None},
    },
    "speed": {
        "training": {"1": 100.0, "4": 300.0},
        "sampling float32": {"1": 100.0, "4": 95.0},
    },
}
SHORT = "the cache folder is not writable, /cache: set CHARGEN_CACHE to another folder"
SPIN = "makes threads spin too long, which slows them down when other programs run: unset it"
SLOWER = "with 4 threads than with one: chargen uses one; check for other programs"
CASES: list[tuple[str, Any, str]] = [
    (
        "versions.bits",
        32,
        "this is a 32-bit Python, for which there is no torch: install a 64-bit one",
    ),
    (
        "versions.torch",
        None,
        f"torch is not installed, and training needs it: {INSTALL}",
    ),
    ("versions.torch", "2.5.1", f"torch 2.5.1 is not supported: {INSTALL}"),
    ("versions.torch", "2.14.0", f"torch 2.14.0 is not supported: {INSTALL}"),
    (
        "processor.graphics_card",
        True,
        "there is an NVIDIA GPU, but this build of torch supports only CPUs",
    ),
    (
        "processor.cores_of_machine",
        8,
        "only 4 of 8 cores are available (CPU affinity, as set by taskset or a batch system): "
        "allow more of them",
    ),
    (
        "processor.precisions",
        ["float32"],
        "bfloat16 is not available on this CPU; float32 is used instead",
    ),
    (
        "processor.flags",
        ["avx_vnni"],
        "this CPU has no AVX2: everything works, but several times slower",
    ),
    (
        "load.programs",
        [{"name": "browser", "pid": 7, "cores": 0.98}],
        "browser (process 7) uses 1.0 cores: chargen runs with fewer threads",
    ),
    (
        "processor.torch_error",
        "OSError: libtorch.so: no such file",
        "torch 2.13.0+cpu cannot be imported (OSError: libtorch.so: no such file); "
        f"reinstall it: {INSTALL}",
    ),
    (
        "power.on_battery",
        True,
        "this computer runs on battery: plug it in, which makes it faster",
    ),
    ("environment.GOMP_SPINCOUNT", "30000000", f"GOMP_SPINCOUNT=30000000 {SPIN}"),
    ("environment.GOMP_SPINCOUNT", "INFINITY", f"GOMP_SPINCOUNT=INFINITY {SPIN}"),
    ("environment.GOMP_SPINCOUNT", "3 M", f"GOMP_SPINCOUNT=3 M {SPIN}"),
    ("environment.KMP_BLOCKTIME", "200", f"KMP_BLOCKTIME=200 {SPIN}"),
    ("environment.KMP_BLOCKTIME", "infinite", f"KMP_BLOCKTIME=infinite {SPIN}"),
    ("environment.OMP_WAIT_POLICY", "ACTIVE", f"OMP_WAIT_POLICY=ACTIVE {SPIN}"),
    (
        "environment.OMP_NUM_THREADS",
        "16",
        "OMP_NUM_THREADS=16 exceeds the number of cores: unset it",
    ),
    ("memory.free_bytes", 1.2e9, "only 1.2 GB of memory are free: close other programs"),
    ("folders.cache.writable", False, SHORT),
    (
        "folders.cache.free_bytes",
        9e8,
        "only 0.9 GB of disk space are free for cache: free some, or set CHARGEN_CACHE to another "
        "folder",
    ),
    (
        "folders.checkpoints.free_bytes",
        3e8,
        "only 0.3 GB of disk space are free for checkpoints: free some, or set "
        "CHARGEN_CHECKPOINTS to another folder",
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


def test_a_containers_limit_is_named() -> None:
    facts = copy.deepcopy(GOOD)
    facts["processor"] |= {"cores": 2, "container_cores": 1.5}
    words = "only 2 of 4 cores are available (container limit 1.5): allow more of them"
    assert advice(facts) == [words]


def test_of_many_busy_programs_the_busiest_are_named() -> None:
    facts = copy.deepcopy(GOOD)
    facts["load"]["programs"] = [{"name": "make", "pid": n, "cores": 0.9} for n in range(5)]
    words = advice(facts)
    assert len(words) == 4
    assert words[-1] == "2 more programs use 1.8 cores"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("GOMP_SPINCOUNT", "100k"),
        ("GOMP_SPINCOUNT", "much"),
        ("KMP_BLOCKTIME", "200us"),
        ("KMP_BLOCKTIME", "10ms"),
        ("OMP_NUM_THREADS", "4,3"),
        ("OMP_NUM_THREADS", "all"),
    ],
)
def test_a_setting_that_does_no_harm_has_no_advice(place: str, value: str) -> None:
    facts = copy.deepcopy(GOOD)
    facts["environment"][place] = value
    assert advice(facts) == []


def test_what_could_not_be_had_is_no_reason_for_advice() -> None:
    unknown = copy.deepcopy(GOOD)
    for section in ("memory", "power"):
        unknown[section] = dict.fromkeys(unknown[section])
    unknown["processor"] = {"cores": None, "cores_of_machine": None, "flags": []}
    unknown["processor"]["graphics_card"] = True
    unknown["speed"] = {
        "training": {"1": None, "4": 1.0},
        "sampling float32": {"1": 2.0, "4": None},
    }
    assert advice(unknown) == []


def test_the_versions_of_torch_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    (needed,) = (n for n in project["project"]["dependencies"] if n.startswith("torch"))
    assert f"'{needed}'" in INSTALL


def test_who_set_how_long_threads_wait() -> None:
    assert spinning_set_by() == "chargen"
    assert spinning_set_by({**os.environ, "OMP_WAIT_POLICY": "passive"}) == "user"
    assert spinning_set_by({"GOMP_SPINCOUNT": "7"}) == "user"


# -- the command ----------------------------------------------------------------------------


@needs_torch
def test_the_report_as_json(chargen: Run) -> None:
    done = chargen("doctor", "--json", "--no-probe")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert list(facts) == [*GOOD, "advice"]
    for section in ("processor", "memory", "power"):
        assert set(GOOD[section]) <= set(facts[section]), section
    assert facts["speed"] is None
    assert facts["environment"]["GOMP_SPINCOUNT"] == os.environ["GOMP_SPINCOUNT"]
    assert facts["folders"]["cache"]["path"] == os.environ["CHARGEN_CACHE"]
    assert "float32" in facts["processor"]["precisions"]
    assert facts["advice"] == advice(facts)


@needs_torch
def test_the_report_in_a_pipe_has_the_speed_too(chargen: Run) -> None:
    write("checkpoints/a/metrics.jsonl", "x" * 1500)
    done = chargen("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    titles = [line for line in lines if not line.startswith(" ")]
    assert titles == ["versions", "machine", "folders", "environment", "speed", "advice"]
    assert all(line == line.rstrip() for line in lines)
    for name in ("matrices float32", "training", "sampling float32", "sampling int8"):
        assert f"  {name} " in done.stdout
    assert f"  checkpoints  {Path('checkpoints').absolute()} (1.5 kB in 1 file, " in " ".join(
        re.sub(" {2,}", "  ", line) for line in lines
    )
    assert re.search(r"^  GOMP_SPINCOUNT +\d+, set by chargen$", done.stdout, re.MULTILINE)


LONG = "/tmp/" + "folder-of-a-very-long-name/" * 5 + "end"


def test_the_report_fits_a_terminal() -> None:
    terminal = Watched("doctor", "--no-probe", CHARGEN_CACHE=LONG, CHARGEN_X="\x1b[2J")
    assert terminal.end() == 0  # its screen refuses a line of more than 80 columns
    text = terminal.screen.text()
    assert "\n  processor  " in text
    assert "\nadvice\n" in text
    assert "…" not in text
    assert LONG in re.sub(r"\s+", "", text)  # folded, and whole
    assert "␛[2J" in text
    assert "\x1b[36m" in terminal.shown


def test_a_terminal_without_colours_gets_none() -> None:
    terminal = Watched("doctor", "--no-probe", NO_COLOR="1")
    assert terminal.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.shown)


@pytest.mark.parametrize(
    "environment",
    [
        {"CHARGEN_CACHE": "/tmp/" + "a" * 300},
        {"CHARGEN_CACHE": "/dev/null/cache"},
        {"CHARGEN_CHECKPOINTS": "/tmp/\udcff", "PYTHONIOENCODING": "utf-8:strict"},
        {"CHARGEN_CHECKPOINTS": "/tmp/äö", "PYTHONIOENCODING": "ascii"},
    ],
)
def test_a_strange_folder_still_gets_a_report(chargen: Run, environment: dict[str, str]) -> None:
    done = chargen("doctor", "--no-probe", env={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nadvice\n" in done.stdout
    if "CHARGEN_CACHE" in environment:
        folder = environment["CHARGEN_CACHE"]
        locked = f"the cache folder is not writable, {folder}: set CHARGEN_CACHE to another"
        assert f"  - {locked} folder" in done.stdout
        assert f"{folder} (not writable, does not exist yet, " in done.stdout


def test_a_broken_machine_still_gets_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def broken(*_: object, **__: object) -> None:
        raise OSError("no")

    for name in ("virtual_memory", "cpu_count", "process_iter", "sensors_battery"):
        monkeypatch.setattr(psutil, name, broken, raising=False)
    monkeypatch.setattr("chargen.machine.report.describe", broken)
    facts = look({})
    assert facts["memory"] == {"limit_bytes": None, "free_bytes": None}
    assert facts["load"] == {"other_cores": None, "programs": []}
    assert facts["power"] == {"on_battery": None}
    assert facts["processor"]["physical_cores"] is None
    if HAS_TORCH:
        assert facts["processor"]["torch_error"] == "OSError: no"
    json.dumps(facts)


def test_a_gpu_is_told_with_the_precisions_that_run_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not HAS_TORCH:
        pytest.skip("torch is not installed")
    from chargen.cli.doctor import doctor

    def can_run(precision: str, device: object) -> bool:
        if str(device) == "mps":
            raise TypeError("no")
        return precision == "float32"

    told = {"torch_kernels": "AVX2", "precisions": ["float32"], "torch_has_cuda": True}
    told["devices"] = ["cuda", "mps", "cpu"]
    monkeypatch.setattr("chargen.machine.report.describe", lambda: told)
    monkeypatch.setattr("chargen.machine.report.can_run", can_run)
    monkeypatch.setattr("chargen.machine.report.find_device", str)
    assert look({})["processor"]["device_precisions"] == {"cuda": ["float32"], "mps": None}
    doctor(probe=False, as_json=False)
    shown = capsys.readouterr().out
    assert re.search(r"devices +cuda \(float32\), mps \(precisions unknown\), cpu\n", shown)


def test_a_battery_is_used_only_if_the_system_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    for plugged, said in ((True, False), (False, True), (None, None)):
        battery = SimpleNamespace(power_plugged=plugged)
        monkeypatch.setattr(psutil, "sensors_battery", lambda b=battery: b, raising=False)
        assert look({})["power"]["on_battery"] is said


def test_programs_that_end_or_may_not_be_seen_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psutil

    class Program:
        def __init__(self, pid: int, name: str | None, *times: float) -> None:
            self.pid, self._name, self._times = pid, name, iter(times)
            self.info = {"cpu_times": (next(self._times), 0.0) if times else None}

        def cpu_times(self) -> tuple[float, float]:
            try:
                return next(self._times), 0.0
            except StopIteration:
                raise psutil.NoSuchProcess(self.pid) from None

        def name(self) -> str:
            if self._name is None:
                raise psutil.AccessDenied(self.pid)
            return self._name

    programs = [
        Program(10**8, "hidden"),
        Program(10**8 + 1, "ended", 1.0),
        Program(10**8 + 2, None, 1.0, 9.0),
        Program(10**8 + 3, "idle", 1.0, 1.0),
        Program(10**8 + 4, "busy", 1.0, 2.0),
        Program(10**8 + 5, "busier", 1.0, 3.0),
        Program(os.getpid(), "this one", 1.0, 9.0),
    ]

    def iterate(*_: object) -> Iterator[Program]:
        return iter(programs)

    monkeypatch.setattr(psutil, "process_iter", iterate)
    assert [p["name"] for p in look({})["load"]["programs"]] == ["busier", "busy"]


def test_a_figure_that_cannot_be_measured_is_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chargen.cli.doctor import doctor
    from chargen.training import probe

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(probe, "SECONDS", 0.0)
    monkeypatch.setattr(probe, "count_cores", lambda: 2)
    monkeypatch.setattr(probe, "OnnxEngine", broken)
    assert probe.speeds()["sampling int8"] == {"1": None, "2": None}
    doctor(probe=True, as_json=False)
    told = capsys.readouterr()
    assert re.search(
        r"^  sampling int8 +1 thread unknown, 2 threads unknown characters/s$",
        told.out,
        re.MULTILINE,
    )
    assert "Traceback" not in told.out + told.err


HIDE = """
import importlib.metadata as metadata
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())
version = metadata.version


def version_of(name):
    if name == "torch":
        raise metadata.PackageNotFoundError(name)
    return version(name)


metadata.version = version_of
from chargen.cli import main

main()
"""


def without_torch(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", HIDE, "doctor", *args]
    done = run(command, stdin=subprocess.DEVNULL, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done


def test_without_torch_everything_else_is_told() -> None:
    facts = json.loads(without_torch("--json").stdout)
    assert facts["versions"]["torch"] is None
    assert list(facts["speed"]) == ["sampling float32", "sampling int8"]
    assert all(rate > 0 for rates in facts["speed"].values() for rate in rates.values())
    assert f"torch is not installed, and training needs it: {INSTALL}" in facts["advice"]
    shown = without_torch("--no-probe").stdout
    assert re.search(r"^  torch +not installed$", shown, re.MULTILINE)
    assert re.search(r"^  devices +cpu, without torch$", shown, re.MULTILINE)

"""Fixtures: an isolated environment, the command as a process, a small trained run."""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from chargen.config import ReadConfig
from chargen.data.dataset import Text
from chargen.data.sources import Source
from tests import small_run
from tests.forked import Forks
from tests.processes import run, running, wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]

HAS_TORCH = find_spec("torch") is not None
NO_TORCH = "needs torch, which is not installed"
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="needs torch")  # in a process of its own

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # Several processes of tests: each on a core of its own, since threads that wait by spinning
    # would slow each other down tenfold.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children must feel Ctrl-C
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# -- where torch is not installed ---------------------------------------------------------


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the modules that import torch, themselves or through chargen."""
    place = collection_path.relative_to(Path(__file__).parent)
    if HAS_TORCH or not place.match("test_*.py"):
        return None
    try:
        importlib.import_module(".".join(("tests", *place.with_suffix("").parts)))
    except ModuleNotFoundError as error:
        return True if error.name == "torch" else None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test that turns out to need torch while it runs."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if HAS_TORCH or error.name != "torch":
            raise
        pytest.skip("imports torch")


# -- fixtures -----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own working directory and cache, and no settings of ours."""
    for name in [name for name in os.environ if name.startswith("CHARGEN_")]:
        if not name.startswith("CHARGEN_TEST_"):
            monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("CHARGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return work


def run_chargen(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command, warnings being errors; skip what needs a missing torch.

    It is a fork, or a process that is started where more than its input is given.
    """
    if options.keys() <= {"input", "text", "timeout"}:
        done = forks().run([str(argument) for argument in args], **options)
    else:
        command = [sys.executable, "-W", "error", "-m", "chargen", *map(str, args)]
        given = {} if "input" in options else {"stdin": subprocess.DEVNULL}
        done = run(command, **{"text": True, **given, **options})
    if not HAS_TORCH and NO_TORCH in str(done.stderr):
        pytest.skip(f"chargen {' '.join(map(str, args))} needs torch")
    return done


@functools.cache
def forks() -> Forks:
    """Return the process whose forks run the command, started on first use."""
    return Forks(Path(tempfile.mkdtemp(prefix="chargen-tests-")))


def pytest_unconfigure() -> None:
    """End that process with the session."""
    if forks.cache_info().currsize:
        forks().close()


def write(name: str, data: bytes | str) -> Path:
    """Write a file of the test's working directory, and the folders above it."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return Path(name)


def text_of(content: str | bytes, tokenizer: str = "char") -> Text:
    """Return a text that is in no file."""
    data = content if isinstance(content, bytes) else content.encode()
    length = len(data) if tokenizer == "byte" else len(data.decode())
    config = ReadConfig(("x",), tokenizer)
    return Text((Source("x", io.BytesIO(data)),), config, length, hashlib.sha256(data).hexdigest())


def content_of(text: Text) -> str:
    """Return all that a text holds."""
    return "".join(piece if isinstance(piece, str) else piece.decode() for piece in text.pieces())


@pytest.fixture
def chargen() -> Run:
    return run_chargen


@pytest.fixture(scope="session")
def prose() -> str:
    """20,000 characters of English from Python's own manual: what the trained run learned."""
    return small_run.prose()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, prose: str) -> Path:
    """The checkpoints folder of one finished run named ``small``: given, or trained here."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "prose.txt").write_text(prose, encoding="utf-8")
    if given := small_run.given():
        shutil.copytree(given, folder / "checkpoints")
    elif HAS_TORCH:
        small_run.train(folder)
    else:
        pytest.skip("no torch to train with; set CHARGEN_TEST_RUNS: see tests/small_run.py")
    return folder / "checkpoints"


@pytest.fixture
def with_model(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the trained run the only one of this test, by links; return its model file."""
    runs = tmp_path / "trained"
    shutil.copytree(trained / "small", runs / "small", copy_function=os.link)
    monkeypatch.setenv("CHARGEN_CHECKPOINTS", str(runs))
    return runs / "small" / "model.safetensors"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of standard texts, or a clear skip."""
    default = Path(__file__).parent.parent.parent / "shared" / "corpora"
    folder = Path(os.environ.get("CHARGEN_TEST_CORPORA", default))
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder}; set CHARGEN_TEST_CORPORA to their folder")
    return folder


@contextmanager
def start_training(prose: str) -> Iterator[subprocess.Popen[str]]:
    """Start a long run; go on when it has begun to learn, and end it with the block."""
    if not HAS_TORCH:
        pytest.skip("training needs torch")
    write("text.txt", prose)
    options = ("--hidden", "16", "--steps", "100000", "--name", "a", "--threads", "1")
    with running([sys.executable, "-m", "chargen", "train", "text.txt", *options]) as process:
        wait_for(Path("checkpoints/a/resume.safetensors"), process)
        time.sleep(0.3)
        yield process
